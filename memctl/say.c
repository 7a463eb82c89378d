/* SPDX-License-Identifier: MIT */
/* What the command says on stderr, and how it exits. */
#include "memctl/say.h"

#include "memctl/memctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* In one write, so that the lines of several processes do not mix. */
__attribute__((format(printf, 2, 0))) static void say(const char *command, const char *format, va_list args)
{
	char text[1024];
	int n = snprintf(text, sizeof(text), "memctl: %s%s", command, *command ? ": " : "");

	(void)vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
	(void)fprintf(stderr, "%s\n", text);
}

int say_failed(const char *command, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(command, format, args);
	va_end(args);
	return SAY_FAILED;
}

void say_note(const char *command, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(command, format, args);
	va_end(args);
}

/* The daemon mostly says itself what to try. */
static const char *advice(int err, const char *sentence)
{
	if (err == -ENOENT && strncmp(sentence, "no such group", 13) == 0 && !strstr(sentence, "create it"))
		return "; 'memctl tree' shows the groups there are";
	if (err == -EEXIST)
		return "; 'memctl set' changes its keys";
	return "";
}

int say_error(const char *command, int err)
{
	const char *sentence = memctl_error();

	return say_failed(command, "%s%s", *sentence ? sentence : strerror(-err), advice(err, sentence));
}
