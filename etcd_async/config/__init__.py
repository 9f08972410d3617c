"""
Configurations in etcd: read, written, watched, and laid over a file.

    source = client.config_source("myapp")
    config = await etcd_async.config.load(file="app.yaml", overlay=source, model=Settings)
    async with config.watch() as updates:
        async for settings in updates: ...
"""

from etcd_async.config._leaves import Values
from etcd_async.config._load import Config, ConfigUpdates, load
from etcd_async.config._source import ConfigSource, Snapshot
from etcd_async.config._validation import Model
from etcd_async.config._watch import ConfigWatch

__all__ = ["Config", "ConfigSource", "ConfigUpdates", "ConfigWatch", "Model", "Snapshot", "Values", "load"]
