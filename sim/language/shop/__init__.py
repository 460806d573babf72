"""The embedded shop of WebShop: its products, its search, and what a purchase is worth."""
