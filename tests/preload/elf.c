/* SPDX-License-Identifier: MIT */
/* Telling by its file what a program can carry: files made by the compilers that are here, and broken ones. */
#include "accounting/elf.h"
#include "tests/lib/ground.h"
#include "tests/lib/tap.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MUTATIONS 30000

static char dir[] = "/tmp/memctl-elf-XXXXXX";

static const char *in_dir(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static bool shell(const char *command)
{
	char line[500];

	snprintf(line, sizeof(line), "cd %s && { %s; } > log 2>&1", dir, command);
	return system(line) == 0;
}

static const struct {
	const char *what;
	const char *command; /* makes ./prog */
	enum elf_kind kind;
} made[] = {
	{ "a dynamic program", "cc -o prog c.c", ELF_PRELOADABLE },
	{ "one that is not position-independent", "cc -no-pie -o prog c.c", ELF_PRELOADABLE },
	{ "a stripped one", "cc -s -o prog c.c", ELF_PRELOADABLE },
	{ "static", "cc -static -o prog c.c", ELF_STATIC },
	{ "static-pie", "cc -static-pie -o prog c.c", ELF_STATIC },
	{ "musl", "musl-gcc -o prog c.c", ELF_MUSL },
	{ "32-bit", "cc -m32 -o prog c.c", ELF_OTHER_CLASS },
	{ "ASan", "cc -fsanitize=address -o prog c.c", ELF_SANITIZER },
	{ "TSan", "cc -fsanitize=thread -o prog c.c", ELF_SANITIZER },
	{ "setuid", "cc -o prog c.c && chown 1:1 prog && chmod 4755 prog", ELF_SECURE },
	{ "setgid", "cc -o prog c.c && chown 1:1 prog && chmod 2755 prog", ELF_SECURE },
	{ "an empty file", "rm -f prog; : > prog", ELF_NOT_ELF },
	{ "text", "echo hello > prog", ELF_NOT_ELF },
	{ "a directory", "rm -f prog; mkdir prog", ELF_NOT_ELF },
	{ "a FIFO", "rmdir prog; mkfifo prog", ELF_NOT_ELF },
	{ "nothing", "rm -f prog", ELF_NOT_ELF },
	{ "a script of a dynamic shell", "printf '#!/bin/sh\\n' > prog", ELF_PRELOADABLE },
	{ "a script with blanks and an argument", "printf '#! \\t/bin/sh -e\\n' > prog", ELF_PRELOADABLE },
	{ "a script of a static program", "cc -static -o st c.c; printf '#!%s/st\\n' $PWD > prog", ELF_STATIC },
	{ "a script without interpreter", "printf '#!' > prog", ELF_NOT_ELF },
	{ "a script of itself", "printf '#!%s/prog\\n' $PWD > prog", ELF_NOT_ELF },
};

static void check_made(void)
{
	(void)shell("echo 'int main(void) { return 0; }' > c.c");
	for (unsigned i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
		enum elf_kind kind;

		if (!shell(made[i].command)) {
			tap_skip("cannot be made here", "%s", made[i].what);
			continue;
		}
		errno = 4711;
		kind = elf_classify(in_dir("prog"));
		if (kind != made[i].kind)
			tap_note("%s: %s", made[i].what, elf_kind_words(kind));
		tap_ok(kind == made[i].kind && errno == 4711, "%s", made[i].what);
	}
}

static size_t read_file(const char *path, unsigned char **ret)
{
	FILE *f = fopen(path, "re");
	size_t n;

	*ret = malloc(1 << 20);
	if (!f || !*ret)
		ground_bail("%s: %s", path, strerror(errno));
	n = fread(*ret, 1, 1 << 20, f);
	fclose(f);
	return n;
}

static enum elf_kind classify_bytes(const unsigned char *bytes, size_t n)
{
	int fd = memfd_create("elf", MFD_CLOEXEC);
	enum elf_kind kind;

	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n)
		ground_bail("memfd: %s", strerror(errno));
	kind = elf_classify_fd(fd);
	close(fd);
	return kind;
}

static void check_truncated(const unsigned char *bytes, size_t n)
{
	bool good = true;

	for (size_t at = 0; at < 4096 && at < n; at += at < 1024 ? 1 : 37)
		good = good && classify_bytes(bytes, at) <= ELF_NOT_ELF;
	tap_ok(good, "truncated files end in an answer");
}

/* Mostly in the header, its table of segments and the dynamic section; values that overflow are likely. */
static void mutate(unsigned char *bytes, size_t n, uint64_t r, size_t dynamic)
{
	static const uint64_t values[] = {
		0, 1, 0x7fffffffffffffff, 0xffffffffffffffff, 0xfffffffffffff000, 0x1000, 56
	};
	size_t zones[] = { 0, 64, dynamic, 0 };
	size_t sizes[] = { 64, 56 * 13, 512, n - 8 };
	unsigned zone = (r >> 4) % 4;
	size_t at = zones[zone] + (r >> 16) % sizes[zone];
	uint64_t value = (r & 8) ? values[(r >> 40) % 7] : r * 0x9e3779b97f4a7c15ull;

	if (at + 8 < n)
		memcpy(bytes + at, &value, (r & 1) ? 8 : (r & 2) ? 2 : 1);
}

static size_t find_dynamic(const unsigned char *bytes)
{
	const Elf64_Ehdr *header = (const void *)bytes;
	const Elf64_Phdr *segment = (const void *)(bytes + header->e_phoff);

	for (int i = 0; i < header->e_phnum; i++)
		if (segment[i].p_type == PT_DYNAMIC)
			return segment[i].p_offset;
	return 0;
}

static void check_mutated(const unsigned char *bytes, size_t n)
{
	unsigned char *copy = malloc(n);
	size_t dynamic = find_dynamic(bytes);
	uint64_t random = 20261121;
	unsigned kinds[ELF_NOT_ELF + 1] = { 0 };
	bool good = true;

	for (int i = 0; i < MUTATIONS; i++) {
		unsigned kind;

		memcpy(copy, bytes, n);
		for (uint64_t k = 1 + ground_random(&random) % 3; k; k--)
			mutate(copy, n, ground_random(&random), dynamic);
		kind = classify_bytes(copy, n);
		good = good && kind <= ELF_NOT_ELF;
		if (kind <= ELF_NOT_ELF)
			kinds[kind]++;
	}
	free(copy);
	tap_ok(good && kinds[ELF_NOT_ELF] && kinds[ELF_PRELOADABLE], "%d broken files end in an answer", MUTATIONS);
}

static bool finds(const char *file, const char *list, const char *wanted)
{
	char buf[128];
	const char *found = elf_search(file, list, buf, sizeof(buf));

	if (!found || !wanted)
		return !found && !wanted;
	return strcmp(found, wanted) == 0;
}

static void check_search(void)
{
	char list[64];
	char prog[64];

	snprintf(list, sizeof(list), "/nonexistent::%s", dir);
	snprintf(prog, sizeof(prog), "%s/elf-prog", dir);
	(void)shell("cp /bin/true elf-prog; : > not-executable; mkdir -p sub");
	tap_ok(finds("elf-prog", list, prog) && finds("sh", "/bin", "/bin/sh") && finds(prog, "/bin", prog),
	       "programs are found as execvp does");
	tap_ok(finds("memctl-none", list, NULL) && finds("sub", list, NULL) && finds("not-executable", list, NULL),
	       "what cannot be run is not found");
}

int main(void)
{
	unsigned char *bytes;
	size_t n;

	if (!mkdtemp(dir))
		ground_bail("mkdtemp: %s", strerror(errno));
	check_made();
	check_search();
	n = read_file(in_dir("elf-prog"), &bytes);
	check_truncated(bytes, n);
	check_mutated(bytes, n);
	free(bytes);
	(void)shell("cd / && rm -r $OLDPWD");
	return tap_end();
}
