"""A report of a store: what is known of it as one frozen value (`page`), and that as one page of HTML (`html`)."""
