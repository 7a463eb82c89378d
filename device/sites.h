/* SPDX-License-Identifier: MIT */
/* Call sites of device memory: the preload library samples them where the program is run with
 * --profile (preload/sites.h); without it nothing happens here.
 *
 * contract      any thread, no shard's lock held. Kinds whose size is a driver's own matter (pools,
 *               overhead, pinned host memory) are not sampled.
 */
#ifndef DEVICE_SITES_H
#define DEVICE_SITES_H

#include "device/ledger.h"

/* It is in the ledger now, in the place of what had its kind and key. */
void device_sites_put(const struct ledger_entry *e);

/* It is not any more. */
void device_sites_take(enum ledger_kind kind, uint64_t key);

#endif
