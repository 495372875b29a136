"""Pages made from records and tables: no torch, no network, one file that reads offline."""
