/* SPDX-License-Identifier: MIT */
/* A profile as a flame graph: one SVG file that any browser opens, with its script inside; searched, zoomed, sizes where
 * the pointer is. Shades are light and lines dark, so that it is read in black and white and on paper. */
#include "memctl/profile.h"

#include "accounting/stacks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 1200.0
#define SIDE 10.0
#define ROW 18.0
#define ABOVE 66.0
#define BELOW 34.0
#define CHARACTER 7.25 /* of 12 px monospace, a little more than its width (DejaVu's is 7.22) */
#define LEAST 1.0      /* px: what is narrower is left out */

struct node {
	uint32_t frame;	      /* number of a frame, or one of the roots' */
	uint32_t child, next; /* 0: none */
	double bytes, count;
};

#define ROOT UINT32_MAX
#define ROOT_KIND (UINT32_MAX - 16) /* + the kind */
#define ROOT_GREW (UINT32_MAX - 31)
#define ROOT_SHRANK (UINT32_MAX - 32)
#define IS_FRAME(n) ((n) < ROOT_SHRANK)

struct graph {
	const struct profile *p;
	const uint32_t *same; /* frames of one function have one number */
	enum profile_by by;
	struct node *node;
	uint32_t nodes, room;
	double total;
	unsigned depth;
	FILE *to;
};

static void *must(void *p)
{
	if (!p) {
		fputs("memctl: no memory left\n", stderr);
		exit(1);
	}
	return p;
}

/* ---- the tree --------------------------------------------------------------------------------------------- */

static uint32_t add_node(struct graph *g, uint32_t frame)
{
	if (g->nodes == g->room) {
		g->room = g->room * 2 + 256;
		g->node = must(realloc(g->node, g->room * sizeof(*g->node)));
	}
	g->node[g->nodes] = (struct node){ .frame = frame };
	return g->nodes++;
}

static uint32_t child(struct graph *g, uint32_t parent, uint32_t frame)
{
	uint32_t i = g->node[parent].child;

	while (i && g->node[i].frame != frame)
		i = g->node[i].next;
	if (i)
		return i;
	i = add_node(g, frame);
	g->node[i].next = g->node[parent].child;
	g->node[parent].child = i;
	return i;
}

static void grow(struct graph *g, uint32_t at, double bytes, double count)
{
	g->node[at].bytes += bytes;
	g->node[at].count += count;
}

static void add_stack(struct graph *g, const struct profile_stack *s)
{
	double bytes = profile_bytes(s, g->by);
	double count = fabs(profile_count(s, g->by));
	uint32_t at = 0;

	if (fabs(bytes) < 0.5)
		return;
	grow(g, at, fabs(bytes), count);
	if (g->p->is_difference) {
		at = child(g, at, bytes > 0 ? ROOT_GREW : ROOT_SHRANK);
		grow(g, at, fabs(bytes), count);
	}
	at = child(g, at, ROOT_KIND + s->kind);
	grow(g, at, fabs(bytes), count);
	for (unsigned i = s->frames; i--;) {
		at = child(g, at, g->same[s->frame[i]]);
		grow(g, at, fabs(bytes), count);
	}
}

static const struct profile *compared;

static int compare_functions(const void *a, const void *b)
{
	const struct profile_frame *x = &compared->frame[*(const uint32_t *)a];
	const struct profile_frame *y = &compared->frame[*(const uint32_t *)b];
	int order = strcmp(x->function, y->function);

	if (!order)
		order = strcmp(x->module, y->module);
	if (!order && strcmp(x->module, "python") == 0)
		order = strcmp(x->file, y->file);
	return order;
}

static uint32_t *find_same(const struct profile *p)
{
	uint32_t *order = must(calloc(p->frames + 1, sizeof(*order)));
	uint32_t *same = must(calloc(p->frames + 1, sizeof(*same)));

	for (uint32_t i = 0; i < p->frames; i++)
		order[i] = i;
	compared = p;
	qsort(order, p->frames, sizeof(*order), compare_functions);
	for (size_t i = 0; i < p->frames; i++)
		same[order[i]] = i && compare_functions(&order[i], &order[i - 1]) == 0 ? same[order[i - 1]] : order[i];
	free(order);
	return same;
}

/* Narrow ones are left out, so they do not count. */
static unsigned depth_of(const struct graph *g, uint32_t at)
{
	unsigned most = 0;

	for (uint32_t i = g->node[at].child; i; i = g->node[i].next)
		if (g->node[i].bytes / g->total * (WIDTH - 2 * SIDE) >= LEAST) {
			unsigned d = depth_of(g, i);

			most = d > most ? d : most;
		}
	return most + 1;
}

/* ---- drawing ---------------------------------------------------------------------------------------------- */

static void write_escaped(FILE *to, const char *text, size_t n)
{
	for (; *text && n; text++, n--)
		switch (*text) {
		case '<':
			fputs("&lt;", to);
			break;
		case '>':
			fputs("&gt;", to);
			break;
		case '&':
			fputs("&amp;", to);
			break;
		case '"':
			fputs("&quot;", to);
			break;
		default:
			fputc((unsigned char)*text < 32 ? ' ' : *text, to);
		}
}

static const char *name_of(const struct graph *g, uint32_t frame)
{
	switch (frame) {
	case ROOT:
		return "all";
	case ROOT_GREW:
		return "more than before";
	case ROOT_SHRANK:
		return "less than before";
	default:
		if (frame >= ROOT_KIND)
			return profile_kind_names[frame - ROOT_KIND];
		return g->p->frame[frame].function;
	}
}

/* From the name, so that a function has its shade in every picture; what files have in common is the hue. */
static void write_shade(const struct graph *g, uint32_t frame)
{
	const struct profile_frame *f = IS_FRAME(frame) ? &g->p->frame[frame] : NULL;
	unsigned h = 5381, m = 5381;

	if (!f) {
		fprintf(g->to, "hsl(0,0%%,%d%%)", frame == ROOT ? 88 : 93);
		return;
	}
	for (const char *c = f->function; *c; c++)
		h = h * 33 + (unsigned char)*c;
	for (const char *c = f->module; *c; c++)
		m = m * 33 + (unsigned char)*c;
	fprintf(g->to, "hsl(%u,%d%%,%u%%)", strcmp(f->module, "python") == 0 ? 100 : m % 60, 65, 76 + h % 14);
}

static void write_label(const struct graph *g, const char *name, double w)
{
	size_t room = w < 3 * CHARACTER ? 0 : (size_t)((w - 6) / CHARACTER);
	size_t n = strlen(name);

	if (room < 3)
		return;
	write_escaped(g->to, name, n <= room ? n : room - 2);
	if (n > room)
		fputs("..", g->to);
}

static void write_node(const struct graph *g, uint32_t at, double x, unsigned depth, double height)
{
	const struct node *n = &g->node[at];
	const char *name = name_of(g, n->frame);
	double w = n->bytes / g->total * (WIDTH - 2 * SIDE);
	double y = height - BELOW - (depth + 1) * ROW;
	char size[PROFILE_SIZE_BUF];
	struct profile plain = { 0 };

	fprintf(g->to, "<g class=\"f\" data-x=\"%.7f\" data-w=\"%.7f\" data-d=\"%u\"><title>",
		(x - SIDE) / (WIDTH - 2 * SIDE), n->bytes / g->total, depth);
	write_escaped(g->to, name, 400);
	fprintf(g->to, "\n%s, %.1f%%, %.0f block%s", profile_size(n->bytes, &plain, size), 100 * n->bytes / g->total,
		n->count, n->count >= 0.5 && n->count < 1.5 ? "" : "s");
	if (IS_FRAME(n->frame)) {
		const struct profile_frame *f = &g->p->frame[n->frame];

		fputs("\n", g->to);
		write_escaped(g->to, *f->file ? f->file : f->module, 300);
	}
	fprintf(g->to, "</title><rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\" fill=\"", x, y, w, ROW - 1);
	write_shade(g, n->frame);
	fprintf(g->to, "\"/><text x=\"%.2f\" y=\"%.1f\" data-n=\"", x + 3, y + 13);
	write_escaped(g->to, name, 400);
	fputs("\">", g->to);
	write_label(g, name, w);
	fputs("</text></g>\n", g->to);
}

static int compare_nodes(const void *a, const void *b, void *arg)
{
	const struct graph *g = arg;

	return strcmp(name_of(g, g->node[*(const uint32_t *)a].frame), name_of(g, g->node[*(const uint32_t *)b].frame));
}

/* In the order of names: the same places in two pictures. */
static void write_tree(const struct graph *g, uint32_t at, double x, unsigned depth, double height)
{
	uint32_t *order;
	size_t n = 0;

	write_node(g, at, x, depth, height);
	for (uint32_t i = g->node[at].child; i; i = g->node[i].next)
		n++;
	if (!n)
		return;
	order = must(calloc(n, sizeof(*order)));
	n = 0;
	for (uint32_t i = g->node[at].child; i; i = g->node[i].next)
		order[n++] = i;
	qsort_r(order, n, sizeof(*order), compare_nodes, (void *)(uintptr_t)g);
	for (size_t i = 0; i < n; i++) {
		double w = g->node[order[i]].bytes / g->total * (WIDTH - 2 * SIDE);

		if (w >= LEAST)
			write_tree(g, order[i], x, depth + 1, height);
		x += w;
	}
	free(order);
}

static const char style[] =
	"text{font:12px monospace;fill:#000;pointer-events:none}"
	".t{font:bold 16px sans-serif;pointer-events:auto}.s{font:12px sans-serif;pointer-events:auto}"
	".f rect{stroke:#666;stroke-width:.6}.f{cursor:pointer}.f:hover rect{stroke:#000;stroke-width:1.6}"
	".m rect{fill:#333}.m text{fill:#fff}.u rect{fill-opacity:.35}"
	".b{font:12px sans-serif;cursor:pointer;text-decoration:underline;pointer-events:auto}";

/* Zoom: a click makes a frame as wide as the picture, and its callers too. Search: what matches is dark, and what it
 * adds up to is said (what is below something that matches is not added again). */
static const char script[] =
	"var W=1180,S=10,C=7.25,F=[].slice.call(document.querySelectorAll('.f')),z=F[0];"
	"F.forEach(function(g){g.x=+g.dataset.x;g.w=+g.dataset.w;g.d=+g.dataset.d;"
	"g.r=g.querySelector('rect');g.t=g.querySelector('text');g.n=g.t.dataset.n;"
	"g.addEventListener('click',function(){zoom(g)});"
	"g.addEventListener('mouseover',function(){say(g.querySelector('title').textContent.replace(/\\n/g,'   '))});"
	"g.addEventListener('mouseout',function(){say('')})});"
	"function id(i){return document.getElementById(i)}"
	"function say(t){id('i').textContent=t}"
	"function zoom(o){z=o;F.forEach(function(g){"
	"var up=g.d<o.d&&g.x<=o.x+1e-6&&g.x+g.w>=o.x+o.w-1e-6,"
	"on=up||(g.d>=o.d&&g.x>=o.x-1e-6&&g.x+g.w<=o.x+o.w+1e-6);"
	"g.style.display=on?'':'none';if(!on)return;g.classList.toggle('u',up);"
	"var x=up?S:S+(g.x-o.x)/o.w*W,w=up?W:g.w/o.w*W,c=Math.floor((w-6)/C);"
	"g.r.setAttribute('x',x);g.r.setAttribute('width',w);g.t.setAttribute('x',x+3);"
	"g.t.textContent=c<3?'':g.n.length<=c?g.n:g.n.slice(0,c-2)+'..'});"
	"id('z').style.display=o===F[0]?'none':''}"
	"function search(){var q=prompt('Search for functions (a regular expression):',search.q||'');"
	"if(q===null)return;search.q=q;find()}"
	"function find(){var q=search.q,e=null,sum=0,end=-1;if(q)try{e=new RegExp(q,'i')}catch(x){e=null}"
	"var hit=[];F.forEach(function(g){var m=!!e&&e.test(g.n);g.classList.toggle('m',m);if(m)hit.push(g)});"
	"hit.sort(function(a,b){return a.x-b.x||a.d-b.d});"
	"hit.forEach(function(g){if(g.x>=end-1e-7){sum+=g.w;end=g.x+g.w}});"
	"id('q').textContent=e?'\"'+q+'\": '+(100*sum).toFixed(1)+'% in '+hit.length+' places':''}"
	"id('z').style.display='none';id('z').onclick=function(){zoom(F[0])};id('y').onclick=search;"
	"addEventListener('keydown',function(e){if((e.ctrlKey||e.metaKey)&&e.key==='f'||e.key==='/"
	"'){e.preventDefault();"
	"search()}if(e.key==='Escape'){search.q='';find();zoom(F[0])}});";

static void write_head(const struct graph *g, double height)
{
	static const char *const words[] = { "live", "allocated in all", "at the peak" };
	char size[PROFILE_SIZE_BUF], rate[PROFILE_SIZE_BUF];
	struct profile plain = { 0 };

	fprintf(g->to,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" "
		"height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\">\n<style>%s</style>\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n<text class=\"t\" x=\"%.0f\" y=\"24\">",
		WIDTH, height, WIDTH, height, style, SIDE);
	write_escaped(g->to, g->p->group, 90);
	fprintf(g->to, ": %s %s%s</text>\n", profile_size(g->total, &plain, size),
		g->p->is_difference ? "of changes in what is " : "", words[g->by]);
	fprintf(g->to,
		"<text class=\"s\" x=\"%.0f\" y=\"44\">%u process%s, %u running; one sample every %s. "
		"Width is memory, callers are below.</text>\n",
		SIDE, g->p->processes, g->p->processes == 1 ? "" : "es", g->p->running,
		profile_size(g->p->rate, &plain, rate));
	fprintf(g->to,
		"<text id=\"y\" class=\"b\" x=\"%.0f\" y=\"24\" text-anchor=\"end\">Search (/)</text>"
		"<text id=\"z\" class=\"b\" x=\"%.0f\" y=\"24\" text-anchor=\"end\" style=\"display:none\">Whole "
		"picture</text>"
		"<text id=\"q\" class=\"s\" x=\"%.0f\" y=\"44\" text-anchor=\"end\"></text>"
		"<text id=\"i\" class=\"s\" x=\"%.0f\" y=\"%.0f\"></text>\n",
		WIDTH - SIDE, WIDTH - SIDE - 80, WIDTH - SIDE, SIDE, height - 12);
}

void profile_write_svg(const struct profile *p, const struct profile_look *look, FILE *to)
{
	uint32_t *same = find_same(p);
	struct graph g = { .p = p, .same = same, .by = look->by, .to = to };
	double height;

	(void)add_node(&g, ROOT);
	for (size_t i = 0; i < p->stacks; i++)
		add_stack(&g, &p->stack[i]);
	g.total = g.node[0].bytes > 0 ? g.node[0].bytes : 1;
	g.depth = depth_of(&g, 0);
	height = ABOVE + g.depth * ROW + BELOW;
	g.total = g.node[0].bytes;
	write_head(&g, height);
	if (g.total > 0)
		write_tree(&g, 0, SIDE, 0, height);
	else
		fprintf(to, "<text class=\"s\" x=\"%.0f\" y=\"62\">Nothing to show.</text>\n", SIDE);
	fprintf(to, "<script><![CDATA[%s]]></script>\n</svg>\n", g.total > 0 ? script : "");
	free(g.node);
	free(same);
}
