"""Finds the rules for an error by the package of its class, and loads them when they are first needed."""

from __future__ import annotations

import importlib
from functools import cache

from chaoskit.runtime.failures.library import Library

__all__ = ["HOMES", "libraries_of", "load"]

# Maps the package that defines an error's class to the module below .libraries that has its rules.
HOMES = {
    "requests": "requests",
    "urllib3": "urllib3",
    "httpx": "httpx",
    "httpcore": "httpx",
    "h11": "protocols",
    "h2": "protocols",
    "trio": "trio",
    "anyio": "anyio",
    "aiohttp": "aiohttp",
    "botocore": "botocore",
    "boto3": "botocore",
    "s3transfer": "botocore",
    "psycopg": "psycopg",
    "psycopg2": "psycopg",
    "psycopg_pool": "psycopg",
    "asyncpg": "asyncpg",
    "sqlalchemy": "sqlalchemy",
    "sqlite3": "sqlite3",
    "pymysql": "mysql",
    "MySQLdb": "mysql",
    "mysql": "mysql",
    "asyncmy": "mysql",
    "pymongo": "pymongo",
    "bson": "pymongo",
    "gridfs": "pymongo",
    "redis": "redis",
    "valkey": "redis",
    "grpc": "grpc",
    "celery": "celery",
    "kombu": "celery",
    "amqp": "celery",
    "billiard": "celery",
    "kafka": "kafka",
    "aiokafka": "kafka",
    "cimpl": "kafka",
    "elasticsearch": "elasticsearch",
    "elastic_transport": "elasticsearch",
    "opensearchpy": "elasticsearch",
    "smtplib": "smtplib",
    "aiosmtplib": "smtplib",
    "ftplib": "ftplib",
    "imaplib": "imaplib",
    "poplib": "imaplib",
    "paramiko": "paramiko",
    "docker": "docker",
    "http": "web",
    "urllib": "web",
    "xmlrpc": "web",
    "concurrent": "pools",
    "multiprocessing": "pools",
    "asyncio": "pools",
    "queue": "pools",
    "_queue": "pools",
    "pickle": "pools",
    "_pickle": "pools",
    "joblib": "pools",
    "loky": "pools",
}


def libraries_of(kind: type[BaseException]) -> tuple[Library, ...]:
    """The libraries that define the class or one of its bases, nearest first, each once.

    An error of Docker's SDK is also one of requests: Docker's rules are tried first.
    """
    modules = (HOMES.get(str(one.__module__).partition(".")[0]) for one in kind.__mro__)
    return tuple(load(module) for module in dict.fromkeys(modules) if module is not None)


@cache
def load(module: str) -> Library:
    """Load the rules in ``libraries/<module>.py``."""
    found: Library = importlib.import_module(f"chaoskit.runtime.failures.libraries.{module}").LIBRARY
    return found
