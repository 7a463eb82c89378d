/* SPDX-License-Identifier: MIT */
/* What a program file, or a running process, says about how far it can be accounted. */
#include "memctl/doctor.h"

#include "accounting/elf.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void doctor_add(struct doctor *d, enum doctor_grade grade, const char *name, const char *advice, const char *format,
		...)
{
	struct doctor_finding *f = &d->finding[d->findings];
	va_list args;

	for (unsigned i = 0; i < d->findings; i++)
		if (strcmp(d->finding[i].name, name) == 0)
			return;
	if (d->findings == DOCTOR_FINDINGS_MAX)
		return;
	d->findings++;
	f->grade = grade;
	f->name = name;
	(void)snprintf(f->advice, sizeof(f->advice), "%s", advice);
	va_start(args, format);
	(void)vsnprintf(f->found, sizeof(f->found), format, args);
	va_end(args);
	if (grade > d->grade)
		d->grade = grade;
}

/* ---- names of libraries ---------------------------------------------------------------------------------- */

static const struct {
	const char *file; /* part of a library's file name */
	const char *name;
	enum doctor_grade grade;
	const char *found, *advice;
} libraries[] = {
	{ "libtcmalloc", "tcmalloc", DOCTOR_FINE,
	  "it links tcmalloc (%s); under memctl malloc is memctl's, and tcmalloc's own calls speak "
	  "of an empty heap",
	  "to keep its malloc, set MEMCTL_ALLOCATOR=system" },
	{ "libjemalloc", "jemalloc", DOCTOR_FINE,
	  "it links jemalloc (%s); memctl's is used in its place, and answers mallocx, mallctl and "
	  "the others",
	  "" },
	{ "libmimalloc", "mimalloc", DOCTOR_FINE,
	  "it links mimalloc (%s); under memctl malloc is memctl's, what it takes by mi_malloc is "
	  "counted as anon",
	  "to keep its malloc, set MEMCTL_ALLOCATOR=system" },
	{ "libtbbmalloc", "tbbmalloc", DOCTOR_FINE, "it links tbbmalloc (%s); what that takes is counted as anon", "" },
	{ "libc.musl", "musl-library", DOCTOR_PARTLY,
	  "it loads a second C library (%s): what that one maps by itself is not seen", "build it against glibc" },
	{ "ld-musl", "musl-library", DOCTOR_PARTLY,
	  "it loads a second C library (%s): what that one maps by itself is not seen", "build it against glibc" },
	{ "libjvm", "java", DOCTOR_FINE,
	  "it is a Java machine (%s): its initial heap counts at once, and it ends when it is "
	  "refused memory",
	  "give it -Xmx below the group's memory.max, and a small -Xms" },
	{ "libcuda.so", "cuda", DOCTOR_FINE,
	  "it uses a CUDA device (%s): device memory is counted by the device library", "" },
	{ "libamdhip64.so", "hip", DOCTOR_PARTLY, "it uses HIP (%s): not all that it allocates on a device is counted",
	  "" },
	{ "libze_loader.so", "level-zero", DOCTOR_PARTLY,
	  "it uses Level Zero (%s): not all that it allocates on a device is counted", "" },
	{ "libgc.so", "gc", DOCTOR_FINE,
	  "it links the Boehm collector (%s): its heap comes from mmap, and is counted as anon", "" },
};

static void judge_library(struct doctor *d, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *file = slash ? slash + 1 : path;

	for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++)
		if (strncmp(file, libraries[i].file, strlen(libraries[i].file)) == 0) {
			char found[300];
			const char *at = strstr(libraries[i].found, "%s");

			(void)snprintf(found, sizeof(found), "%.*s%.80s%s", (int)(at - libraries[i].found),
				       libraries[i].found, file, at + 2);
			doctor_add(d, libraries[i].grade, libraries[i].name, libraries[i].advice, "%s", found);
		}
}

/* ---- its own dynamic linker's list ----------------------------------------------------------------------- */

static pid_t start_linker(const char *linker, const char *path, int *ret_fd)
{
	char *const argv[] = { (char *)(uintptr_t)linker, (char *)(uintptr_t)path, NULL };
	posix_spawn_file_actions_t actions;
	int ends[2];
	pid_t pid;
	int err;

	if (pipe2(ends, O_CLOEXEC))
		return -1;
	(void)setenv("LD_TRACE_LOADED_OBJECTS", "1", 1); /* lists what it would load, and runs nothing */
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	(void)posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	err = posix_spawn(&pid, linker, &actions, NULL, argv, environ);
	(void)unsetenv("LD_TRACE_LOADED_OBJECTS");
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(ends[1]);
	*ret_fd = ends[0];
	if (!err)
		return pid;
	(void)close(ends[0]);
	return -1;
}

/* Lines of "name => path (address)", or "name => not found". */
static void judge_line(struct doctor *d, char *line)
{
	char *arrow = strstr(line, " => ");
	char *end;

	line += strspn(line, " \t");
	if (arrow && strncmp(arrow + 4, "not found", 9) == 0) {
		*arrow = 0;
		doctor_add(d, DOCTOR_NOT, "library", "install it, or set LD_LIBRARY_PATH",
			   "its library %s is not found", line);
		return;
	}
	line = arrow ? arrow + 4 : line;
	end = strstr(line, " (0x");
	if (end)
		*end = 0;
	judge_library(d, line);
}

static void judge_libraries(struct doctor *d, const char *linker)
{
	char *line = NULL;
	size_t room = 0;
	FILE *from;
	int fd, status;
	pid_t pid = start_linker(linker, d->path, &fd);

	if (pid < 0)
		return;
	from = fdopen(fd, "r");
	while (from && getline(&line, &room, from) > 0) {
		line[strcspn(line, "\n")] = 0;
		judge_line(d, line);
	}
	free(line);
	if (from)
		(void)fclose(from);
	(void)waitpid(pid, &status, 0);
}

/* ---- its symbols ----------------------------------------------------------------------------------------- */

struct symbols {
	bool own_malloc;    /* exported by the program itself: found before any preload */
	bool hidden_malloc; /* an allocator linked in under other names */
	bool has_dlmopen, has_go, has_syscall;
	char hidden_name[64];
};

static void look_at_symbol(struct symbols *s, const char *name, const GElf_Sym *symbol, bool is_dynamic)
{
	static const char *const hidden[] = { "_rjem_malloc", "je_malloc", "tc_malloc", "mi_malloc",
					      "rpmalloc",     "sn_malloc", "dlmalloc",	"nedmalloc" };
	bool is_defined = symbol->st_shndx != SHN_UNDEF;

	if (is_dynamic && is_defined && strcmp(name, "malloc") == 0)
		s->own_malloc = true;
	if (is_dynamic && !is_defined && strcmp(name, "dlmopen") == 0)
		s->has_dlmopen = true;
	if (is_dynamic && !is_defined && strcmp(name, "syscall") == 0)
		s->has_syscall = true;
	for (size_t i = 0; is_defined && i < sizeof(hidden) / sizeof(hidden[0]); i++)
		if (strcmp(name, hidden[i]) == 0) {
			s->hidden_malloc = true;
			(void)snprintf(s->hidden_name, sizeof(s->hidden_name), "%.60s", name);
		}
}

static void look_at_table(struct symbols *s, Elf *elf, Elf_Scn *section, const GElf_Shdr *head)
{
	Elf_Data *data = elf_getdata(section, NULL);
	GElf_Sym symbol;

	for (int i = 0; data && head->sh_entsize && i < (int)(head->sh_size / head->sh_entsize); i++) {
		const char *name =
			gelf_getsym(data, i, &symbol) ? elf_strptr(elf, head->sh_link, symbol.st_name) : NULL;

		if (name)
			look_at_symbol(s, name, &symbol, head->sh_type == SHT_DYNSYM);
	}
}

static void look_at_sections(struct symbols *s, Elf *elf, char *ret_linker)
{
	size_t names = 0;
	Elf_Scn *section = NULL;
	GElf_Shdr head;

	(void)elf_getshdrstrndx(elf, &names);
	while ((section = elf_nextscn(elf, section)) != NULL) {
		const char *name;

		if (!gelf_getshdr(section, &head))
			continue;
		name = elf_strptr(elf, names, head.sh_name);
		if (head.sh_type == SHT_DYNSYM || head.sh_type == SHT_SYMTAB)
			look_at_table(s, elf, section, &head);
		if (name && (strcmp(name, ".note.go.buildid") == 0 || strcmp(name, ".gopclntab") == 0))
			s->has_go = true;
		if (name && strcmp(name, ".interp") == 0) {
			Elf_Data *data = elf_getdata(section, NULL);

			if (data && data->d_size && data->d_size < PATH_MAX)
				(void)snprintf(ret_linker, PATH_MAX, "%.*s", (int)data->d_size,
					       (const char *)data->d_buf);
		}
	}
}

static void read_symbols(const char *path, struct symbols *s, char *ret_linker)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf *elf;

	*s = (struct symbols){ 0 };
	*ret_linker = 0;
	if (fd < 0 || elf_version(EV_CURRENT) == EV_NONE)
		return;
	elf = elf_begin(fd, ELF_C_READ, NULL);
	if (elf && elf_kind(elf) == ELF_K_ELF)
		look_at_sections(s, elf, ret_linker);
	(void)elf_end(elf);
	(void)close(fd);
}

static void judge_symbols(struct doctor *d, const struct symbols *s)
{
	if (s->own_malloc)
		doctor_add(d, DOCTOR_PARTLY, "own-malloc",
			   "link it without its own malloc to have its heap purged and refused "
			   "request by request",
			   "it has a malloc of its own, which comes before memctl's: its memory is "
			   "counted as it takes it from mmap, as "
			   "anon; what it takes from brk is found by looking");
	else if (s->hidden_malloc)
		doctor_add(d, DOCTOR_FINE, "linked-allocator", "",
			   "it has an allocator linked in (%s): its memory is counted as it takes "
			   "it from mmap, as anon, and it cannot be "
			   "asked for what it does not use",
			   s->hidden_name);
	if (s->has_dlmopen)
		doctor_add(d, DOCTOR_PARTLY, "dlmopen", "",
			   "it can load libraries with a C library of their own (dlmopen): what "
			   "those take is found by looking, and not "
			   "refused");
	if (s->has_go)
		doctor_add(d, DOCTOR_PARTLY, "go", "set GOMEMLIMIT below the group's memory.max",
			   "it is a Go program: Go makes system calls by itself, so its heap is "
			   "found by looking, and not refused");
}

/* ---- the file -------------------------------------------------------------------------------------------- */

static void judge_static(struct doctor *d, const struct symbols *s)
{
	if (s->has_go)
		doctor_add(d, DOCTOR_OBSERVED, "go",
			   "set GOMEMLIMIT below the group's memory.max; or build it with "
			   "CGO_ENABLED=1 and -linkmode=external",
			   "it is a static Go program: nothing can be preloaded into it");
	doctor_add(d, DOCTOR_OBSERVED, "static", s->has_go ? "" : "link it dynamically",
		   "it is linked statically: its memory is sampled and counted, and it is not "
		   "refused anything");
}

static void judge_kind(struct doctor *d, enum elf_kind kind, const struct symbols *s)
{
	switch (kind) {
	case ELF_PRELOADABLE:
		break;
	case ELF_STATIC:
		judge_static(d, s);
		break;
	case ELF_MUSL:
		doctor_add(d, DOCTOR_OBSERVED, "musl", "build it against glibc",
			   "it is for musl's dynamic linker, which would not start with memctl's "
			   "library: its memory is sampled and "
			   "counted, and it is not refused anything");
		break;
	case ELF_OTHER_CLASS:
		doctor_add(d, DOCTOR_OBSERVED, "other-machine", "use a 64-bit build",
			   "it is a 32-bit program, or for another machine: its memory is sampled "
			   "and counted, and it is not refused "
			   "anything");
		break;
	case ELF_SECURE:
		doctor_add(d, DOCTOR_OBSERVED, "setuid", "start it as the user it changes to, without the bit",
			   "it is setuid, setgid or has capabilities: the dynamic linker drops "
			   "preloads; it is sampled as far as the "
			   "daemon may look");
		break;
	case ELF_SANITIZER:
		doctor_add(d, DOCTOR_OBSERVED, "sanitizer", "use a build without -fsanitize",
			   "it is built with a sanitizer, which refuses to start behind another "
			   "library: its memory is sampled and "
			   "counted, and it is not refused anything");
		break;
	case ELF_NOT_ELF:
		doctor_add(d, DOCTOR_NOT, "not-elf", "", "it is no program in ELF, nor a script with an interpreter");
		break;
	}
}

/* As a shell would. False: there is none that can be executed; ret_path is the word then. */
static bool find(const char *word, char ret_path[PATH_MAX])
{
	char room[PATH_MAX];
	const char *found = elf_search(word, getenv("PATH"), room, sizeof(room));

	(void)snprintf(ret_path, PATH_MAX, "%s", found ? found : word);
	return found && access(ret_path, X_OK) == 0;
}

/* Behind "#!", at most as often as the kernel does it. */
static void follow_script(struct doctor *d)
{
	char line[256], chain[PATH_MAX];

	for (int i = 0; i < 5; i++) {
		int fd = open(d->path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
		char *program, *end;

		if (fd >= 0)
			(void)close(fd);
		line[n > 0 ? n : 0] = 0;
		if (strncmp(line, "#!", 2) != 0)
			return;
		program = line + 2 + strspn(line + 2, " \t");
		end = program + strcspn(program, " \t\n");
		if (strncmp(end, " ", 1) == 0 && end - program >= 4 &&
		    strncmp(end - 4, "/env", 4) == 0) { /* "/usr/bin/env X" */
			program = end + strspn(end, " \t");
			end = program + strcspn(program, " \t\n");
		}
		*end = 0;
		doctor_add(d, DOCTOR_FINE, "script", "", "it is a script for %.200s", program);
		if (!find(program, chain))
			return;
		(void)strcpy(d->path, chain);
	}
}

static void judge_file(struct doctor *d)
{
	char linker[PATH_MAX];
	struct symbols s;
	enum elf_kind kind = elf_classify(d->path);

	read_symbols(d->path, &s, linker);
	judge_kind(d, kind, &s);
	if (kind == ELF_PRELOADABLE) {
		judge_symbols(d, &s);
		if (*linker)
			judge_libraries(d, linker);
	}
}

void doctor_examine(const char *command, struct doctor *d)
{
	if (!find(command, d->path)) {
		if (access(d->path, F_OK) == 0)
			doctor_add(d, DOCTOR_NOT, "not-executable", "", "it is there, but cannot be executed: %.300s",
				   d->path);
		else
			doctor_add(d, DOCTOR_NOT, "not-found", "", "there is no such program: %.300s", command);
		return;
	}
	follow_script(d);
	judge_file(d);
}

/* ---- a process ------------------------------------------------------------------------------------------- */

struct loaded {
	bool preload;
	unsigned libcs; /* copies: the same file may be there twice (dlmopen) */
	char libc[2][200];
};

/* `line` as in /proc/PID/maps. */
static void look_at_mapping(struct doctor *d, struct loaded *l, const char *line, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *file = slash ? slash + 1 : path;
	unsigned long offset;

	if (sscanf(line, "%*s %*s %lx", &offset) != 1 || offset) /* its first page, once for each copy */
		return;
	if (strncmp(file, "libmemctl-preload", 17) == 0)
		l->preload = true;
	judge_library(d, path);
	if (strncmp(file, "libc.so.6", 9) != 0 && strncmp(file, "libc-2.", 7) != 0)
		return;
	if (l->libcs < 2)
		(void)snprintf(l->libc[l->libcs++], sizeof(l->libc[0]), "%.190s", path);
}

void doctor_examine_process(pid_t pid, struct doctor *d)
{
	struct loaded l = { .libcs = 0 };
	char path[64], *line = NULL;
	size_t room = 0;
	FILE *maps;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	n = readlink(path, d->path, sizeof(d->path) - 1);
	d->path[n > 0 ? n : 0] = 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "re");
	if (n <= 0 || !maps) {
		doctor_add(d, DOCTOR_NOT, "not-found", "", "there is no process %d, or it may not be looked at",
			   (int)pid);
		if (maps)
			(void)fclose(maps);
		return;
	}
	judge_file(d);
	while (getline(&line, &room, maps) > 0) {
		char *at = strchr(line, '/');

		line[strcspn(line, "\n")] = 0;
		if (at)
			look_at_mapping(d, &l, line, at);
	}
	free(line);
	(void)fclose(maps);
	if (l.libcs > 1)
		doctor_add(d, DOCTOR_PARTLY, "second-libc", "",
			   "it has loaded two C libraries (%s and %s): what the second takes is "
			   "found by looking, and not refused",
			   l.libc[0], l.libc[1]);
	if (!l.preload)
		doctor_add(d, DOCTOR_OBSERVED, "no-preload", "start it with 'memctl run'",
			   "it does not have memctl's library: it was started without memctl, or "
			   "as an observed member");
}
