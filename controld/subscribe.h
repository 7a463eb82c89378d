/* SPDX-License-Identifier: MIT */
/* What an event's text asks for: "usage:64M", "pressure:medium,local" and the like. */
#ifndef CONTROLD_SUBSCRIBE_H
#define CONTROLD_SUBSCRIBE_H

#include "accounting/segment.h"
#include "controld/complaint.h"
#include "controld/pressure.h"
#include "controld/psi.h"

enum event_kind { ON_USAGE, ON_MEMSW, ON_PRESSURE, ON_OOM, ON_EVENTS, ON_STALL, ON_REMOVED, ON_HISTORY, EVENT_KINDS };

struct event_spec {
	enum event_kind kind;
	unsigned resource;
	uint64_t units; /* USAGE, MEMSW */
	enum pressure_level level;
	enum pressure_mode mode;
	char trigger[48]; /* STALL: as psi_trigger_open has it */
};

/* -EINVAL; -ENODEV: no such region. */
int subscribe_parse(const struct segment *seg, const char *text, struct event_spec *ret, struct complaint *why);

#endif
