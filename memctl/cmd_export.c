/* SPDX-License-Identifier: MIT */
/* memctl export: serves the numbers of all groups to Prometheus. A process of its own: the daemon
 * stays small, and a scraper that hangs hangs nobody else. */
#include "memctl/command.h"
#include "memctl/export.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PORT_DEFAULT "9754"
#define CONNECTIONS 16
#define IDLE_SECONDS 30

#define OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define PLAIN "text/plain; version=0.0.4; charset=utf-8"

struct wish {
	const char *listen;
	bool once;
};

static const struct argp_option options[] = {
	{ "listen", 'l', "ADDRESS", 0, "PORT or 127.0.0.1:PORT, [::1]:PORT, unix:PATH (default " PORT_DEFAULT ")", 0 },
	{ "once", '1', NULL, 0, "Print once, and end", 0 },
	{ 0 },
};

static error_t option(int key, char *arg, struct argp_state *state)
{
	struct wish *w = state->input;

	switch (key) {
	case 'l':
		w->listen = arg;
		return 0;
	case '1':
		w->once = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct command_usage usage = {
	.name = "export",
	.options = options,
	.option = option,
	.more = "Serves /metrics until it is ended by a signal. Needs no daemon: without one "
		"memctl_up is 0.",
};

/* ---- reading --------------------------------------------------------------------------------------------- */

/* Used again from one scrape to the next; MHD has one thread, so they take turns. */
static struct census_copy census;
static struct export_text spare;

/* A connection for each: an open one would keep an unused daemon from ending. */
static int read_all(bool is_openmetrics, struct export_text *ret)
{
	struct memctl *m;
	int err = memctl_open(NULL, MEMCTL_NO_START, &m);

	if (!err) {
		err = census_read(m, true, &census);
		memctl_close(m);
	}
	if (err == -ENOMEM)
		return err;
	return export_print(err ? NULL : &census, is_openmetrics, ret);
}

static int print_once(void)
{
	struct export_text t = { 0 };

	if (read_all(false, &t)) /* as the textfile collector and promtool want it */
		return say_failed("export", "no memory left");
	(void)fwrite(t.text, 1, t.n, stdout);
	free(t.text);
	return output_finish("export");
}

/* ---- serving --------------------------------------------------------------------------------------------- */

struct answer {
	struct export_text text;
};

static void give_back(void *own)
{
	struct answer *a = own;

	if (!spare.text)
		spare = a->text;
	else
		free(a->text.text);
	free(a);
}

static struct MHD_Response *metrics(bool is_openmetrics)
{
	struct answer *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->text = spare;
	spare = (struct export_text){ 0 };
	if (read_all(is_openmetrics, &a->text)) {
		give_back(a);
		return NULL;
	}
	struct MHD_Response *r =
		MHD_create_response_from_buffer_with_free_callback_cls(a->text.n, a->text.text, give_back, a);
	if (r)
		(void)MHD_add_response_header(r, "Content-Type", is_openmetrics ? OPENMETRICS : PLAIN);
	else
		give_back(a);
	return r;
}

static struct MHD_Response *words(const char *text)
{
	struct MHD_Response *r =
		MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);

	if (r)
		(void)MHD_add_response_header(r, "Content-Type", "text/html; charset=utf-8");
	return r;
}

static enum MHD_Result on_request(void *own, struct MHD_Connection *c, const char *url, const char *method,
				  const char *version, const char *body, size_t *body_size, void **state)
{
	const char *accept = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Accept");
	unsigned status = MHD_HTTP_OK;
	struct MHD_Response *r;
	enum MHD_Result result;

	(void)own, (void)version, (void)body, (void)state;
	if (*body_size) {
		*body_size = 0; /* of no interest */
		return MHD_YES;
	}
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
		status = MHD_HTTP_METHOD_NOT_ALLOWED;
		r = words("only GET\n");
	} else if (strcmp(url, "/metrics") == 0) {
		r = metrics(accept && strstr(accept, "application/openmetrics-text"));
	} else if (strcmp(url, "/") == 0) {
		r = words("<!DOCTYPE html><title>memctl</title><p>memctl: <a "
			  "href=\"/metrics\">metrics</a>\n");
	} else {
		status = MHD_HTTP_NOT_FOUND;
		r = words("there is /metrics\n");
	}
	if (!r) {
		status = MHD_HTTP_SERVICE_UNAVAILABLE;
		r = words("no memory left\n");
	}
	result = r ? MHD_queue_response(c, status, r) : MHD_NO;
	if (r)
		MHD_destroy_response(r);
	return result;
}

/* ---- where ----------------------------------------------------------------------------------------------- */

static const char *socket_path; /* to be removed at the end */

static int listen_unix(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	if (strlen(path) >= sizeof(address.sun_path)) {
		(void)close(fd);
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	/* A dead one's is in the way; a living one's is left. */
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) && errno == ECONNREFUSED)
		(void)unlink(path);
	(void)close(fd);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask = umask(0177);
	int err = bind(fd, (struct sockaddr *)&address, sizeof(address));

	(void)umask(mask);
	if (err || listen(fd, CONNECTIONS)) {
		(void)close(fd);
		return -1;
	}
	socket_path = path;
	return fd;
}

static int listen_port(bool is_six, const char *port)
{
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr *address = is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
	int fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	four.sin_port = six.sin6_port = htons((uint16_t)atoi(port));
	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (bind(fd, address, is_six ? sizeof(six) : sizeof(four)) || listen(fd, CONNECTIONS)) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static bool is_port(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 6 && atoi(text) < 65536;
}

/* The numbers say who runs what: they are for this machine alone. -2: no such address. */
static int listen_at(const char *where)
{
	if (strncmp(where, "unix:", 5) == 0)
		return listen_unix(where + 5);
	if (is_port(where))
		return listen_port(false, where);
	if (strncmp(where, "127.0.0.1:", 10) == 0 && is_port(where + 10))
		return listen_port(false, where + 10);
	if (strncmp(where, "localhost:", 10) == 0 && is_port(where + 10))
		return listen_port(false, where + 10);
	if (strncmp(where, "[::1]:", 6) == 0 && is_port(where + 6))
		return listen_port(true, where + 6);
	return -2;
}

/* Says where: port 0 is any that is free. */
static void say_where(int fd, const char *where)
{
	struct sockaddr_in6 address;
	socklen_t size = sizeof(address);

	if (strncmp(where, "unix:", 5) == 0) {
		say_note("export", "serving at %s", where);
		return;
	}
	(void)getsockname(fd, (struct sockaddr *)&address, &size);
	say_note("export", "serving at http://%s:%u/metrics", address.sin6_family == AF_INET6 ? "[::1]" : "127.0.0.1",
		 ntohs(address.sin6_port)); /* the port lies at one place in both */
}

static int serve(const struct wish *w)
{
	struct MHD_Daemon *server;
	sigset_t ends;
	int fd = listen_at(w->listen);
	int got;

	if (fd == -2) {
		(void)say_failed("export",
				 "'%s' is no address for this: PORT, 127.0.0.1:PORT, [::1]:PORT or "
				 "unix:PATH",
				 w->listen);
		return SAY_USAGE;
	}
	if (fd < 0)
		return say_failed("export", "cannot listen at %s: %m", w->listen);
	(void)sigemptyset(&ends);
	(void)sigaddset(&ends, SIGTERM);
	(void)sigaddset(&ends, SIGINT);
	(void)sigaddset(&ends, SIGHUP);
	(void)pthread_sigmask(SIG_BLOCK, &ends, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	server = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO, 0, NULL, NULL, on_request, NULL,
				  MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
				  MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_END);
	if (!server)
		return say_failed("export", "cannot start the server at %s", w->listen);
	say_where(fd, w->listen);
	(void)sigwait(&ends, &got);
	MHD_stop_daemon(server);
	if (socket_path)
		(void)unlink(socket_path);
	return 0;
}

int cmd_export(int argc, char **argv)
{
	struct wish wish = { .listen = PORT_DEFAULT };
	struct command_words w;

	command_parse(&usage, argc, argv, &wish, &w);
	return wish.once ? print_once() : serve(&wish);
}
