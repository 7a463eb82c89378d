/* SPDX-License-Identifier: MIT */
/* What an event's text asks for. */
#include "controld/subscribe.h"

#include "accounting/region.h"
#include "accounting/units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FORMS \
	"usage:SIZE, memsw:SIZE, pressure:LEVEL[,MODE], oom, events, removed, history, " \
	"stall:some|full:STALL_US:WINDOW_US, " \
	"dmem:REGION:SIZE or dmem-pressure:REGION:LEVEL[,MODE]"

static int parse_size(const char *text, uint64_t unit, struct event_spec *ret, struct complaint *why)
{
	if (units_parse(text, "max", unit, &ret->units))
		return complain(why, -EINVAL, "not a size: '%.60s'; bytes with an optional K M G T P E", text);
	return 0;
}

static int parse_pressure(const char *text, struct event_spec *ret, struct complaint *why)
{
	if (pressure_parse(text, &ret->level, &ret->mode))
		return complain(why, -EINVAL,
				"not a pressure level: '%.60s'; low, medium or critical, then perhaps ,default "
				",hierarchy or ,local",
				text);
	return 0;
}

/* "some:STALL:WINDOW" to the kernel's form. */
static int parse_stall(const char *text, struct event_spec *ret, struct complaint *why)
{
	struct psi_trigger trigger;
	struct psi psi = { 0 };

	(void)snprintf(ret->trigger, sizeof(ret->trigger), "%s", text);
	for (char *p = ret->trigger; *p; p++)
		*p = *p == ':' ? ' ' : *p;
	if (strchr(text, ' ') || psi_trigger_open(&trigger, ret->trigger, true, &psi))
		return complain(why, -EINVAL,
				"not a stall: '%.60s'; some or full, then the stall and the window in microseconds, "
				"stall up to window, window up to 10000000",
				text);
	return 0;
}

/* Cuts "REGION:rest"; regions have colons themselves. */
static int parse_region(const struct segment *seg, const char *text, struct event_spec *ret, const char **ret_rest,
			struct complaint *why)
{
	char name[REGION_NAME_MAX + 1];
	const char *colon = strrchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : 0;

	if (!n || n > REGION_NAME_MAX)
		return complain(why, -EINVAL, "not REGION:VALUE: '%.100s'", text);
	memcpy(name, text, n);
	name[n] = 0;
	if (region_find_alias(seg, name, &ret->resource))
		return complain(why, -ENODEV, "no such device region: '%.100s'", name);
	*ret_rest = colon + 1;
	return 0;
}

static const char *after(const char *text, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

static int parse_device(const struct segment *seg, const char *text, struct event_spec *ret, struct complaint *why)
{
	const char *rest = NULL;
	int err = parse_region(seg, text, ret, &rest, why);

	if (err)
		return err;
	return ret->kind == ON_USAGE ? parse_size(rest, seg->limits->header.region[ret->resource].unit, ret, why)
				     : parse_pressure(rest, ret, why);
}

static int parse_word(const char *text, struct event_spec *ret, struct complaint *why)
{
	static const struct {
		const char *word;
		enum event_kind kind;
	} words[] = {
		{ "oom", ON_OOM }, { "events", ON_EVENTS }, { "removed", ON_REMOVED }, { "history", ON_HISTORY }
	};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(text, words[i].word) == 0) {
			ret->kind = words[i].kind;
			return 0;
		}
	return complain(why, -EINVAL, "no such event: '%.60s'; there are " FORMS, text);
}

int subscribe_parse(const struct segment *seg, const char *text, struct event_spec *ret, struct complaint *why)
{
	const char *rest;

	*ret = (struct event_spec){ .resource = RESOURCE_MEMORY };
	if ((rest = after(text, "usage:")) || (rest = after(text, "memsw:"))) {
		ret->kind = text[0] == 'u' ? ON_USAGE : ON_MEMSW;
		return parse_size(rest, MC_PAGE_SIZE, ret, why);
	}
	if ((rest = after(text, "pressure:"))) {
		ret->kind = ON_PRESSURE;
		return parse_pressure(rest, ret, why);
	}
	if ((rest = after(text, "dmem:")) || (rest = after(text, "dmem-pressure:"))) {
		ret->kind = text[4] == ':' ? ON_USAGE : ON_PRESSURE;
		return parse_device(seg, rest, ret, why);
	}
	if ((rest = after(text, "stall:"))) {
		ret->kind = ON_STALL;
		return parse_stall(rest, ret, why);
	}
	return parse_word(text, ret, why);
}
