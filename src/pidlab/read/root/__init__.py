"""ROOT files through uproot, which sees names of branches but never an expression."""
