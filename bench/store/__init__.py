"""The store: every outcome, measurement and distance of a benchmark, in one directory or object-store prefix."""

from bench.store.filesystems import Held
from bench.store.opening import open_store, store_exists
from bench.store.schema import FINISHED, SCHEMA_VERSION, SCHEMAS
from bench.store.store import Store, StoreUnwritableError

__all__ = ["FINISHED", "SCHEMAS", "SCHEMA_VERSION", "Held", "Store", "StoreUnwritableError", "open_store", "store_exists"]
