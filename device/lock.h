/* SPDX-License-Identifier: MIT */
/* Locks of this process alone: the child of a fork finds them free, whoever held them.
 *
 * They lie in a page that is wiped on fork, however a child was made. What they guard begins anew
 * there: it must not matter how far the parent had come.
 *
 * contract      any thread; not for the same lock twice. A waiter spins: for what is done once, and
 * takes microseconds. Without memory for the page the locks are common to parent and child.
 */
#ifndef DEVICE_LOCK_H
#define DEVICE_LOCK_H

enum lock { LOCK_RESOLVE, LOCK_ATTACH, LOCKS };

void lock_take(enum lock which);
void lock_release(enum lock which);

#endif
