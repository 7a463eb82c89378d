#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""subscribe.py SOCKET GROUP EVENT: prints a line for each notification, with no library of ours.

SOCKET is control.sock in the runtime directory, such as /dev/shm/memctl-1000/control.sock. The daemon must run
(`memctl daemon start`). The protocol is in memctld(8)."""
import array
import select
import socket
import sys


def subscribe(daemon, group, event):
    """Returns the eventfd that the daemon sends along with its answer, as a file."""
    daemon.send(b'{"v":1,"op":"subscribe","group":"%s","event":"%s"}' % (group.encode(), event.encode()))
    descriptors = array.array("i")
    reply, control, _, _ = daemon.recvmsg(65536, socket.CMSG_SPACE(descriptors.itemsize))
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data)
    if not descriptors:
        sys.exit(reply.decode())
    return open(descriptors[0], "rb", buffering=0)


def main(path, group, event):
    daemon = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    daemon.connect(path)
    notifications = subscribe(daemon, group, event)
    print("waiting for", event, "of", group, flush=True)
    while True:
        ready, _, _ = select.select([notifications, daemon], [], [])
        if notifications in ready:
            count = array.array("Q", notifications.read(8))[0]
            print(event, count, flush=True)
        if daemon in ready:  # it never speaks unasked: it has ended
            sys.exit("the daemon ended: something may be missed from now on")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
