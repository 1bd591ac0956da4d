"""The engine of a store on a PostgreSQL server. Needs psycopg 3."""
