/* SPDX-License-Identifier: MIT */
/* The commands' table and what is checked by it. */
#include "controld/command.h"

#include "accounting/member.h"
#include "controld/history.h"

#include <errno.h>
#include <string.h>

static const struct command commands[] = {
#define COMMAND(id, who, args, help) \
	{ .name = #id, .right = RIGHT_##who, .arguments = (args), .carry_out = do_##id, .sentence = (help) },
#define COMMAND_LATER(id, who, args, help) \
	{ .name = #id, .right = RIGHT_##who, .arguments = (args), .sentence = (help) },
#include "controld/commands.def"
#undef COMMAND
#undef COMMAND_LATER
};

const struct command *command_table(size_t *ret_count)
{
	*ret_count = sizeof(commands) / sizeof(commands[0]);
	return commands;
}

static const struct command *find(const char *op)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, op) == 0)
			return &commands[i];
	return NULL;
}

/* One "name:type[!]" word of a row. */
struct argument {
	const char *name, *type;
	size_t name_size, type_size;
	bool required;
};

/* Cuts the next word off; false at the end. */
static bool next_argument(const char **spec, struct argument *ret)
{
	const char *p = *spec + strspn(*spec, " ");

	if (!*p)
		return false;
	ret->name = p;
	ret->name_size = strcspn(p, ":");
	ret->type = p + ret->name_size + 1;
	ret->type_size = strcspn(ret->type, "! ");
	ret->required = ret->type[ret->type_size] == '!';
	*spec = ret->type + ret->type_size + ret->required;
	return true;
}

static bool is_type(const struct argument *a, const char *type)
{
	return strlen(type) == a->type_size && memcmp(a->type, type, a->type_size) == 0;
}

static const char *expected(const struct argument *a)
{
	if (is_type(a, "group") || is_type(a, "path"))
		return "a group's path";
	if (is_type(a, "number"))
		return "a number that is not negative";
	if (is_type(a, "flag"))
		return "true or false";
	return is_type(a, "text") ? "a string" : is_type(a, "array") ? "an array" : "an object";
}

static bool fits(const struct argument *a, const json_t *v)
{
	if (is_type(a, "number"))
		return json_is_integer(v) && json_integer_value(v) >= 0;
	if (is_type(a, "flag"))
		return json_is_boolean(v);
	if (is_type(a, "array"))
		return json_is_array(v);
	if (is_type(a, "object"))
		return json_is_object(v);
	return json_is_string(v);
}

int command_complain_path(struct complaint *why, int err, const char *path)
{
	switch (err) {
	case -ENOENT:
		return complain(why, err, "no such group: %.200s", path);
	case -EINVAL:
		return complain(why, err,
				"not a group's path: '%.200s': it begins with / and has names of "
				"letters, digits and ._@:+- between slashes",
				path);
	case -ENAMETOOLONG:
		return complain(why, err, "a name in the path is longer than %d bytes: %.200s", GROUP_NAME_MAX, path);
	case -ELOOP:
		return complain(why, err, "the path has more than %d names: %.200s", GROUP_DEPTH_MAX, path);
	default:
		return complain(why, err, "cannot find the group %.200s: %s", path, strerror(-err));
	}
}

static int check_value(struct request *r, const struct argument *a, const json_t *v)
{
	int err = 0;

	if (!fits(a, v))
		return complain(&r->why, -EINVAL, "the argument '%.*s' must be %s", (int)a->name_size, a->name,
				expected(a));
	if (is_type(a, "group"))
		err = group_find(&r->served->seg, json_string_value(v), &r->group);
	else if (is_type(a, "path"))
		err = group_check_path(json_string_value(v));
	return err ? command_complain_path(&r->why, err, json_string_value(v)) : 0;
}

static bool is_named(const struct argument *a, const char *name)
{
	return strlen(name) == a->name_size && memcmp(a->name, name, a->name_size) == 0;
}

static bool is_known(const struct command *c, const char *name)
{
	const char *spec = c->arguments;
	struct argument a;

	while (next_argument(&spec, &a))
		if (is_named(&a, name))
			return true;
	return strcmp(name, "v") == 0 || strcmp(name, "op") == 0;
}

static int check_names(struct request *r, const struct command *c)
{
	const char *name;
	json_t *value;

	json_object_foreach(r->arguments, name, value) if (!is_known(c, name)) return complain(
		&r->why, -EINVAL, "'%s' has no argument '%.100s'%s%s", c->name, name,
		*c->arguments ? "; it takes " : "", c->arguments);
	return 0;
}

static int check_arguments(struct request *r, const struct command *c)
{
	const char *spec = c->arguments;
	struct argument a;
	int err = check_names(r, c);

	while (!err && next_argument(&spec, &a)) {
		const json_t *v = json_object_getn(r->arguments, a.name, a.name_size);

		if (v)
			err = check_value(r, &a, v);
		else if (a.required)
			err = complain(&r->why, -EINVAL, "'%s' needs the argument '%.*s': %s", c->name,
				       (int)a.name_size, a.name, expected(&a));
	}
	return err;
}

bool command_is_bound(const struct request *r, uint16_t *ret_group)
{
	const struct segment *seg = &r->served->seg;
	uint64_t start_time;
	uint32_t member;

	if (r->daemon->allow_members || r->caller->pid == 0 ||
	    r->daemon->world->start_time(r->caller->pid, &start_time) ||
	    member_find(seg, (uint32_t)r->caller->pid, start_time, &member))
		return false;
	*ret_group = mc_load_full(&member_of(seg, member)->group);
	return true;
}

/* A program that could raise its own limit would have none. */
static int check_right(struct request *r, const struct command *c)
{
	uint16_t group;

	if (c->right == RIGHT_ANY || !command_is_bound(r, &group) || !group_is_within(&r->served->seg, group, r->group))
		return 0;
	return complain(&r->why, -EPERM,
			"'%s' is refused to members of the group itself: do it from outside, or start the "
			"daemon with --allow-members",
			c->name);
}

/* After these the history has something to see. */
static bool is_change(const char *op)
{
	return strcmp(op, "create") == 0 || strcmp(op, "remove") == 0 || strcmp(op, "set") == 0;
}

int command_carry_out(struct request *r, const char *op, json_t *reply)
{
	const struct command *c = find(op);
	int err;

	if (!c)
		return complain(&r->why, -EOPNOTSUPP, "unknown op '%.100s': this daemon does not know it", op);
	err = check_arguments(r, c);
	if (!err && !c->carry_out)
		err = complain(&r->why, -EOPNOTSUPP, "'%s' is not in this version", c->name);
	if (!err)
		err = check_right(r, c);
	if (err)
		return err;
	err = c->carry_out(r, reply);
	if (is_change(c->name))
		history_note(r->served);
	return err;
}

bool command_flag(const struct request *r, const char *name, bool otherwise)
{
	const json_t *v = json_object_get(r->arguments, name);

	return v ? json_is_true(v) : otherwise;
}

uint64_t command_number(const struct request *r, const char *name, uint64_t otherwise)
{
	const json_t *v = json_object_get(r->arguments, name);

	return v ? (uint64_t)json_integer_value(v) : otherwise;
}

const char *command_text(const struct request *r, const char *name, const char *otherwise)
{
	const json_t *v = json_object_get(r->arguments, name);

	return v ? json_string_value(v) : otherwise;
}
