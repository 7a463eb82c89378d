/* SPDX-License-Identifier: MIT */
/* The keys memory.oom.hook, memory.oom.term and memory.oom.deadlock. */
#include "accounting/units.h"
#include "controld/key.h"
#include "controld/oom_rules.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPACE " \t\n\v\f\r"

static int apply(struct served *s, uint16_t group, const struct oom_rules *rules, struct complaint *why)
{
	if (oom_rules_set(s, group, rules) == 0)
		return 0;
	return complain(why, -EBUSY, "the file system of %s is full", s->seg.dir);
}

/* `text` without the white space around it. */
static size_t trim(const char **text)
{
	size_t n;

	*text += strspn(*text, SPACE);
	n = strlen(*text);
	while (n && strchr(SPACE, (*text)[n - 1]))
		n--;
	return n;
}

/* ---- memory.oom.hook --------------------------------------------------------------------------------------- */

/* Texts between their check and their use, a second at most: a value is a number, and says which. */
#define PENDING 256u

static struct {
	uint64_t number;
	char text[GROUP_OOM_HOOK_MAX];
} pending[PENDING];
static uint64_t last;

static json_t *get_hook(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	struct oom_rules rules;

	(void)k, (void)snap;
	oom_rules_get(s, group, &rules);
	return json_string(rules.hook);
}

static int parse_hook(const struct key *k, const struct served *s, uint16_t group, const char *text,
		      uint64_t *ret_value, struct complaint *why)
{
	size_t n = trim(&text);

	(void)s, (void)group;
	if (n >= GROUP_OOM_HOOK_MAX)
		return complain(why, -E2BIG, "a command for %s has at most %d characters: put it into a script",
				k->name, GROUP_OOM_HOOK_MAX - 1);
	*ret_value = ++last;
	pending[last % PENDING].number = last;
	memset(pending[last % PENDING].text, 0, GROUP_OOM_HOOK_MAX);
	memcpy(pending[last % PENDING].text, text, n);
	return 0;
}

static int apply_hook(const struct key *k, struct served *s, uint16_t group, uint64_t value, struct complaint *why)
{
	struct oom_rules rules;

	if (pending[value % PENDING].number != value)
		return complain(why, -EBUSY, "%s was set too often at once; try again", k->name);
	oom_rules_get(s, group, &rules);
	memcpy(rules.hook, pending[value % PENDING].text, sizeof(rules.hook));
	return apply(s, group, &rules, why);
}

const struct key_kind key_kind_oom_hook = {
	.get = get_hook,
	.parse = parse_hook,
	.apply = apply_hook,
};

/* ---- memory.oom.term --------------------------------------------------------------------------------------- */

static json_t *get_term(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	struct oom_rules rules;

	(void)k, (void)snap;
	oom_rules_get(s, group, &rules);
	return json_integer(rules.term_ms);
}

static int parse_term(const struct key *k, const struct served *s, uint16_t group, const char *text,
		      uint64_t *ret_value, struct complaint *why)
{
	size_t n = trim(&text);
	char *end;

	(void)s, (void)group;
	*ret_value = strtoull(text, &end, 0);
	if (!isdigit((unsigned char)*text) || end != text + n || *ret_value > OOM_TERM_MS_MAX)
		return complain(why, -EINVAL, "'%.60s' is not for %s: milliseconds, a whole number from 0 to %u", text,
				k->name, OOM_TERM_MS_MAX);
	return 0;
}

static int apply_term(const struct key *k, struct served *s, uint16_t group, uint64_t value, struct complaint *why)
{
	struct oom_rules rules;

	(void)k;
	oom_rules_get(s, group, &rules);
	rules.term_ms = (uint32_t)value;
	return apply(s, group, &rules, why);
}

const struct key_kind key_kind_oom_term = {
	.get = get_term,
	.parse = parse_term,
	.apply = apply_term,
};

/* ---- memory.oom.deadlock ----------------------------------------------------------------------------------- */

static const char *const words[] = {
	[DEADLOCK_PASS] = "pass",
	[DEADLOCK_REFUSE] = "refuse",
	[DEADLOCK_WAIT] = "wait",
};
#define WORDS (sizeof(words) / sizeof(words[0]))

static json_t *get_deadlock(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	struct oom_rules rules;

	(void)k, (void)snap;
	oom_rules_get(s, group, &rules);
	return json_string(words[rules.deadlock % WORDS]);
}

static int parse_deadlock(const struct key *k, const struct served *s, uint16_t group, const char *text,
			  uint64_t *ret_value, struct complaint *why)
{
	size_t n = trim(&text);

	(void)s, (void)group;
	for (*ret_value = 0; *ret_value < WORDS; ++*ret_value)
		if (strlen(words[*ret_value]) == n && strncmp(words[*ret_value], text, n) == 0)
			return 0;
	return complain(why, -EINVAL, "'%.60s' is not for %s: pass, refuse or wait", text, k->name);
}

static int apply_deadlock(const struct key *k, struct served *s, uint16_t group, uint64_t value, struct complaint *why)
{
	struct oom_rules rules;

	(void)k;
	oom_rules_get(s, group, &rules);
	rules.deadlock = (enum oom_deadlock)value;
	return apply(s, group, &rules, why);
}

const struct key_kind key_kind_oom_deadlock = {
	.get = get_deadlock,
	.parse = parse_deadlock,
	.apply = apply_deadlock,
};
