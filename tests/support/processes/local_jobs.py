"""Several processes of one job on this machine."""

import json
import os
import socket
import subprocess


def start_job(command, count, locate_log):
    """Starts processes that find each other by TF_CONFIG; one process gets none.

    Args:
        command: list of arguments.
        count: processes.
        locate_log: index -> path of the file that takes what the process writes.

    Returns:
        The processes, by index.
    """
    addresses = [f"127.0.0.1:{port}" for port in _find_ports(count)]
    processes = []
    for index in range(count):
        env = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
        env.pop("TF_CONFIG", None)
        if count > 1:
            task = {"type": "worker", "index": index}
            env["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
        with open(locate_log(index), "w", encoding="utf-8") as log:
            processes.append(
                subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env)
            )
    return processes


def _find_ports(count):
    """Finds ports that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
