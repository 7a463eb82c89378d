/* SPDX-License-Identifier: MIT */
/* What reads from the daemon: get, list, members, status, keys. */
#include "memctl/client.h"
#include "memctl/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a walk over an answer goes. */
struct walk {
	union {
		memctl_value_fn *value;
		memctl_group_fn *group;
		memctl_member_fn *member;
		memctl_key_fn *key;
	} fn;
	void *arg;
};

static const char *text_at(json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* An integer, or "max". */
static uint64_t number_at(json_t *object, const char *name)
{
	json_t *value = json_object_get(object, name);

	return json_is_string(value) ? MEMCTL_MAX : (uint64_t)json_integer_value(value);
}

/* ---- values ------------------------------------------------------------------------------ */

static int tell_value(const char *key, const char *field, json_t *value, const struct walk *w)
{
	char digits[24];
	struct memctl_value v = { .key = key, .field = field, .text = digits };

	if (json_is_integer(value)) {
		v.is_number = true;
		v.number = (uint64_t)json_integer_value(value);
		(void)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)v.number);
	} else if (json_is_boolean(value)) {
		v.text = json_is_true(value) ? "yes" : "no";
	} else {
		v.text = json_is_string(value) ? json_string_value(value) : "";
		v.number = strcmp(v.text, "max") == 0 ? MEMCTL_MAX : 0;
	}
	return w->fn.value(&v, w->arg);
}

static int tell_values(json_t *values, const struct walk *w)
{
	const char *key, *field;
	json_t *value, *part;
	int err;

	json_object_foreach(values, key, value)
	{
		if (!json_is_object(value)) {
			err = tell_value(key, NULL, value, w);
			if (err)
				return err;
			continue;
		}
		json_object_foreach(value, field, part)
		{
			err = tell_value(key, field, part, w);
			if (err)
				return err;
		}
	}
	return 0;
}

static int get_page(json_t *reply, void *arg)
{
	return tell_values(json_object_get(reply, "values"), arg);
}

static json_t *pack_keys(const char *const *keys)
{
	json_t *list = json_array();

	for (; list && *keys; keys++)
		if (json_array_append_new(list, json_string(*keys))) {
			json_decref(list);
			return NULL;
		}
	return list;
}

int memctl_get(struct memctl *m, const char *group, const char *const *keys, memctl_value_fn *fn, void *arg)
{
	struct walk w = { .fn.value = fn, .arg = arg };
	json_t *request = client_new_request("get", group);

	if (request && keys && *keys && json_object_set_new(request, "keys", pack_keys(keys))) {
		json_decref(request);
		request = NULL;
	}
	return client_pages(m, request, get_page, &w);
}

struct wanted {
	const char *field; /* NULL: the key itself */
	uint64_t number;
	bool found;
};

static int take_number(const struct memctl_value *v, void *arg)
{
	struct wanted *w = arg;

	if ((!w->field && !v->field) || (w->field && v->field && strcmp(w->field, v->field) == 0)) {
		w->number = v->number;
		w->found = v->is_number || v->number == MEMCTL_MAX;
	}
	return 0;
}

static int get_number(struct memctl *m, const char *group, const char *key, struct wanted *wanted)
{
	const char *keys[] = { key, NULL };
	int err = memctl_get(m, group, keys, take_number, wanted);

	return err ? err : wanted->found ? 0 : error_set(-EINVAL, "%s is not a number", key);
}

/* "memory.events.oom" is the field oom of memory.events. */
static int get_field(struct memctl *m, const char *group, const char *name, uint64_t *ret)
{
	const char *dot = strrchr(name, '.');
	struct wanted wanted = { .field = dot ? dot + 1 : NULL };
	char key[128];
	int err;

	if (!dot || (size_t)(dot - name) >= sizeof(key))
		return -ENOENT;
	(void)snprintf(key, sizeof(key), "%.*s", (int)(dot - name), name);
	err = get_number(m, group, key, &wanted);
	if (!err)
		*ret = wanted.number;
	return err;
}

int memctl_get_number(struct memctl *m, const char *group, const char *key, uint64_t *ret)
{
	struct wanted wanted = { 0 };
	int err = get_number(m, group, key, &wanted);
	char *why;

	if (!err)
		*ret = wanted.number;
	if (err != -ENOENT)
		return err;
	why = strdup(memctl_error());
	if (get_field(m, group, key, ret) == 0)
		err = 0;
	else
		(void)error_set(err, "%s", why ? why : "no memory left");
	free(why);
	return err;
}

int memctl_status(struct memctl *m, memctl_value_fn *fn, void *arg)
{
	struct walk w = { .fn.value = fn, .arg = arg };
	json_t *reply;
	int err = client_request(m, client_new_request("status", NULL), &reply);

	if (err)
		return err;
	(void)json_object_del(reply, "ok");
	err = tell_values(reply, &w);
	json_decref(reply);
	return err;
}

/* ---- groups, members, keys --------------------------------------------------------------- */

static int list_page(json_t *reply, void *arg)
{
	const struct walk *w = arg;
	size_t i;
	json_t *row;

	json_array_foreach(json_object_get(reply, "groups"), i, row)
	{
		struct memctl_group g = {
			.path = text_at(row, "group"),
			.current = number_at(row, "current"),
			.max = number_at(row, "max"),
			.members = (unsigned)number_at(row, "members"),
			.members_local = (unsigned)number_at(row, "members_local"),
		};
		int err = w->fn.group(&g, w->arg);

		if (err)
			return err;
	}
	return 0;
}

int memctl_list(struct memctl *m, const char *group, unsigned flags, memctl_group_fn *fn, void *arg)
{
	struct walk w = { .fn.group = fn, .arg = arg };
	json_t *request;

	if (flags & ~MEMCTL_RECURSIVE)
		return error_set(-EINVAL, "memctl_list: unknown flags 0x%x", flags);
	request = client_new_request("list", group);
	if (request && flags)
		(void)json_object_set_new(request, "recursive", json_true());
	return client_pages(m, request, list_page, &w);
}

/* Words with commas between; what does not fit is left out. */
static void join_words(json_t *words, char *buf, size_t size)
{
	size_t i, n = 0;
	json_t *word;

	buf[0] = 0;
	json_array_foreach(words, i, word)
	{
		int more = snprintf(buf + n, size - n, "%s%s", i ? "," : "",
				    json_is_string(word) ? json_string_value(word) : "");

		if (more < 0 || (size_t)more >= size - n)
			return;
		n += (size_t)more;
	}
}

static int members_page(json_t *reply, void *arg)
{
	const struct walk *w = arg;
	size_t i;
	json_t *row;

	json_array_foreach(json_object_get(reply, "members"), i, row)
	{
		char flags[128];
		struct memctl_member member = {
			.pid = (pid_t)number_at(row, "pid"),
			.comm = text_at(row, "comm"),
			.group = text_at(row, "group"),
			.state = text_at(row, "state"),
			.flags = flags,
			.held = number_at(row, "held"),
			.refused = number_at(row, "refused"),
		};
		int err;

		join_words(json_object_get(row, "flags"), flags, sizeof(flags));
		err = w->fn.member(&member, w->arg);
		if (err)
			return err;
	}
	return 0;
}

int memctl_members(struct memctl *m, const char *group, unsigned flags, memctl_member_fn *fn, void *arg)
{
	struct walk w = { .fn.member = fn, .arg = arg };
	json_t *request;

	if (flags & ~MEMCTL_LOCAL)
		return error_set(-EINVAL, "memctl_members: unknown flags 0x%x", flags);
	request = client_new_request("members", group);
	if (request)
		(void)json_object_set_new(request, "recursive", json_boolean(!flags));
	return client_pages(m, request, members_page, &w);
}

static int keys_page(json_t *reply, void *arg)
{
	const struct walk *w = arg;
	size_t i;
	json_t *row;

	json_array_foreach(json_object_get(reply, "keys"), i, row)
	{
		struct memctl_key key = {
			.name = text_at(row, "name"),
			.access = text_at(row, "access"),
			.format = text_at(row, "format"),
			.help = text_at(row, "help"),
		};
		int err = w->fn.key(&key, w->arg);

		if (err)
			return err;
	}
	return 0;
}

int memctl_keys(struct memctl *m, memctl_key_fn *fn, void *arg)
{
	struct walk w = { .fn.key = fn, .arg = arg };

	return client_pages(m, client_new_request("keys", NULL), keys_page, &w);
}
