/* SPDX-License-Identifier: MIT */
/* Finding the runtime directory and reaching the daemon in it. */
#ifndef MEMCTL_CONNECT_H
#define MEMCTL_CONNECT_H

#include <stdbool.h>
#include <sys/types.h>

/* A daemon's socket must fit into an address, so its directory must be this short. */
#define CONNECT_DIR_MAX 96

/* The directory in use: `named`, else MEMCTL_DIR, else the default of this user. -EINVAL: not an
 * absolute path; -ENAMETOOLONG. */
int connect_find_dir(const char *named, char ret_dir[CONNECT_DIR_MAX]);

/* 0 when the directory is the user's own and closed to others, or missing (*ret_exists is false);
 * else errno with its sentence: -EPERM, -EACCES, -ENOTDIR. */
int connect_check_dir(const char *dir, bool *ret_exists);

/* A connected socket. -ENOTCONN: nobody listens. */
int connect_socket(const char *dir);

/* As connect_socket, but starts a daemon when nobody listens. When several processes do so at once,
 * the daemons' lock decides, and all of them meet the one that has it. */
int connect_or_start(const char *dir);

/* The process at the other end, 0 when it is not known. */
pid_t connect_peer(int fd);

#endif
