"""The book: the chapters beside the code, and reference pages made from the code, as the source of a site."""
