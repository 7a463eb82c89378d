/* SPDX-License-Identifier: MIT */
/* The table of keys, and setting several at once. */
#include "controld/key.h"

#include "accounting/units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct key keys[] = {
#define KEY(key_name, rights, shape, key_kind, which, help) \
	{ .name = (key_name), \
	  .access = KEY_##rights, \
	  .format = FORMAT_##shape, \
	  .kind = &key_kind_##key_kind, \
	  .parameter = (which), \
	  .sentence = (help) },
#include "controld/keys.def"
#undef KEY
};

#define KEYS (sizeof(keys) / sizeof(keys[0]))

_Static_assert(KEYS <= sizeof(((struct key_changes *)0)->change) / sizeof(((struct key_changes *)0)->change[0]),
	       "all keys can be set at once");

const struct key *key_table(size_t *ret_count)
{
	*ret_count = KEYS;
	return keys;
}

const struct key *key_find(const char *name)
{
	for (size_t i = 0; i < KEYS; i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

int key_find_for(const char *name, enum key_access access, const struct key **ret, struct complaint *why)
{
	const struct key *k = key_find(name);

	if (!k)
		return complain(why, -ENOENT,
				"no such key: '%.100s': the keys are listed by 'memctl get /' "
				"and in memctl(1)",
				name);
	if (k->access == KEY_NO)
		return complain(why, -EOPNOTSUPP, "no %s: %s", k->name, k->sentence);
	if (!(k->access & access))
		return complain(why, -EINVAL, "%s can only be %s", k->name, access == KEY_W ? "read" : "written");
	*ret = k;
	return 0;
}

json_t *key_get(const struct key *k, const struct served *s, uint16_t group, const struct snapshot *snap)
{
	return k->kind->get(k, s, group, snap);
}

static int check_one(const struct served *s, uint16_t group, const char *name, const json_t *value,
		     struct key_changes *changes, struct complaint *why)
{
	uint64_t *parsed = &changes->change[changes->count].value;
	char number[24];
	const struct key *k;
	int err = key_find_for(name, KEY_W, &k, why);

	if (err)
		return err;
	changes->change[changes->count++].key = k;
	if (json_is_string(value))
		return k->kind->parse(k, s, group, json_string_value(value), parsed, why);
	if (!json_is_integer(value))
		return complain(why, -EINVAL, "the value of %s must be a string or a whole number", name);
	(void)snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
	return k->kind->parse(k, s, group, number, parsed, why);
}

int key_check(const struct served *s, uint16_t group, const json_t *values, struct key_changes *ret,
	      struct complaint *why)
{
	const char *name;
	json_t *value;
	int err = 0;

	ret->count = 0;
	json_object_foreach((json_t *)values, name, value) if (!err) err = check_one(s, group, name, value, ret, why);
	return err;
}

int key_apply(struct served *s, uint16_t group, const struct key_changes *changes, struct complaint *why)
{
	int err = 0;

	for (int first = 1; first >= 0; first--)
		for (unsigned i = 0; i < changes->count && !err; i++) {
			const struct key *k = changes->change[i].key;

			if (k->kind->may_fail == (bool)first)
				err = k->kind->apply(k, s, group, changes->change[i].value, why);
		}
	return err;
}

/* ---- what kinds have in common ------------------------------------------------------------------------- */

json_t *key_bytes(uint64_t pages)
{
	return json_integer((json_int_t)(pages << MC_PAGE_SHIFT));
}

json_t *key_limit(uint64_t pages)
{
	return pages >= PAGES_MAX ? json_string("max") : key_bytes(pages);
}

mc_word *key_limit_word(struct limits *l, int which)
{
	switch ((enum key_limit)which) {
	case LIMIT_MIN:
		return &l->min;
	case LIMIT_LOW:
		return &l->low;
	case LIMIT_HIGH:
		return &l->high;
	case LIMIT_SOFT:
		return &l->soft;
	case LIMIT_MAX:
	default:
		return &l->max;
	}
}

int key_parse_anything(const struct key *k, const struct served *s, uint16_t group, const char *text,
		       uint64_t *ret_value, struct complaint *why)
{
	(void)k, (void)s, (void)group, (void)text, (void)why;
	*ret_value = 0;
	return 0;
}

int key_parse_size(const struct key *k, const char *text, const char *unlimited, uint64_t *ret, struct complaint *why)
{
	if (!*text) /* the kernel is never written nothing; here it is a variable that is not set */
		return complain(why, -EINVAL, "%s is given no value: write a size, or %s", k->name, unlimited);
	if (units_parse(text, unlimited, MC_PAGE_SIZE, ret) == 0)
		return 0;
	return complain(why, -EINVAL,
			"'%.60s' is no size for %s: bytes, with one of K M G T P E behind if you like, or %s", text,
			k->name, unlimited);
}
