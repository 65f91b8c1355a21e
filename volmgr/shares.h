/*
 * Spaces and shares: which parts of the tree that tagger serves are whose. A space is a folder that
 * an admin gives to a person, or to everybody who is logged in; each user has one of his own,
 * home/NAME. A share is a file or folder that somebody gives on, to a person or by a link that
 * ends. When the setting says so, who is no admin sees spaces and shares, and nothing else; without
 * it everybody sees all, and shares are still there to point to something, and for links.
 *
 * A share gives no more than its giver has at that moment. It is of a path: it goes along when that
 * is moved by the page, rests while it is in the bin, and leads nowhere when it is gone otherwise.
 * It remembers which entry of the bin it rests in: what else was deleted there, and is put back, is
 * not what was shared. It does not go along into what others have shared with who moves it: there
 * it would give, and keep, what is theirs. For the same reason a space goes along when an admin
 * moves it.
 *
 * tagger holds each request to the list that scope_text() makes (tagger/scope.h).
 *
 * All of it belongs to the control thread.
 */
#ifndef WEFT_SHARES_H
#define WEFT_SHARES_H

#include "people.h"

#define SHARES_MAX	5000
#define SHARES_EACH	500 /* that one has given */
#define SHARE_PATH_MAX	1024
#define SHARE_DAYS	7 /* of a link */
#define SHARE_DAYS_MAX	3650
#define SHARE_ID_MAX	TICKET_ID_MAX
#define SCOPE_BYTES_MAX (40u << 10) /* of a list; what does not fit is not seen */
#define SHARE_HOME	"home"
#define SHARE_REST_MAX	48 /* a name of the bin's */

enum share_kind { SHARE_SPACE, SHARE_PERSON, SHARE_LINK };

struct share {
	enum share_kind kind;
	char id[SHARE_ID_MAX];
	char path[SHARE_PATH_MAX + 1]; /* below the root; "": all, of a space only */
	bool folder;
	char giver[NAME_MAX_BYTES + 1];
	char person[NAME_MAX_BYTES +
		    1]; /* to whom; "": of a space everybody, of a link whoever has it */
	bool write;
	bool gone;		      /* it is in the bin, or for good */
	char rest[SHARE_REST_MAX];    /* gone: the bin's entry that it comes back with; "": none */
	char digest[DIGEST_TEXT_MAX]; /* of a link's secret */
	char label[LABEL_MAX + 1];
	int64_t created, expires, seen; /* expires 0: never */
};

struct shares {
	struct share *share[SHARES_MAX];
	unsigned n;
};

/* ---- shares.c: those that change return 0, or -1 with a refusal */
int shares_load(struct cluster *c);
void shares_free(struct cluster *c);
bool share_path_valid(const char *path);
/* Is path what top is, or below it? */
bool share_path_below(const char *path, const char *top);
/* secret gets what leads to a link. */
int share_add(struct cluster *c, const struct share *s, char secret[TOKEN_TEXT_MAX],
	      struct share **out, struct refusal *r);
int share_remove(struct cluster *c, struct share *s, struct refusal *r);
struct share *share_by_id(struct cluster *c, const char *id);
/* The link behind a secret, if it leads somewhere. */
struct share *share_by_secret(struct cluster *c, const char *secret);
/* It was used now. True: for the first time in a while. */
bool share_seen(struct cluster *c, struct share *s);
/* What was given by and to somebody who is removed. */
void shares_forget(struct cluster *c, const char *person);
/* What the page did with files: paths as tagger tells them, percent-encoded. */
/* to NULL: to where nobody can tell. By whom. */
void shares_moved(struct cluster *c, const char *from, const char *to, const char *who,
		  enum role role);
/* rest: the bin's entry, or NULL. */
void shares_deleted(struct cluster *c, const char *path, const char *rest);
void shares_restored(struct cluster *c, const char *rest, const char *was, const char *now);

/* ---- shares-scope.c */
/* Has it neither ended nor lost what it is of, and may its giver still give it? */
bool share_is_live(struct cluster *c, const struct share *s);
/* May somebody in this role give this to others? */
bool share_may_give(struct cluster *c, const char *who, enum role role, const char *path,
		    bool write);
/* Would tagger let somebody in this role put something there? */
bool share_may_put(struct cluster *c, const char *who, enum role role, const char *path);
/* And look at this? */
bool share_may_look(struct cluster *c, const char *who, enum role role, const char *path);
/* Does what somebody has moved take its shares along? */
bool share_goes_along(struct cluster *c, const char *who, enum role role, const char *from,
		      const char *to);
/* The list for tagger; NULL: everything. malloc'd. */
char *scope_text(struct cluster *c, const char *who, enum role role);
/* May who was held to this list still look at all of it? */
bool scope_holds(struct cluster *c, const char *who, enum role role, const char *list);
/* Its own space; buf of SHARE_PATH_MAX + 1. */
char *share_home(const char *person, char *buf);

#endif
