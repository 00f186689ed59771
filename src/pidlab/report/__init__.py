"""The report: the headline and tables of results as text, and one page that opens offline."""
