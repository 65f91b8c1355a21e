/*
 * People: who may use the web page and the API over TCP. Persons have a name, a role and a
 * password; what they show instead of the password afterwards are tickets: sessions of browsers,
 * tokens of scripts, invitations (links that end). Of a ticket only the digest is kept, so what is
 * in the metadata opens nothing.
 *
 * All of it belongs to the control thread; passwords are hashed on a thread of their own.
 */
#ifndef WEFT_PEOPLE_H
#define WEFT_PEOPLE_H

#include <jansson.h>

#include "http.h"
#include "password.h"
#include "records.h"
#include "volmgr.h"

#define PEOPLE_MAX	 1000
#define TICKETS_MAX	 5000
#define TICKETS_EACH	 50 /* of one kind and person; the oldest session gives way to a new one */
#define LABEL_MAX	 64
#define TICKET_ID_MAX	 17
#define SESSION_S	 (30 * 86400) /* without being used */
#define INVITATION_S	 (7 * 86400)
#define TOKEN_DAYS_MAX	 3650
#define HASHES_MAX	 16   /* passwords waiting to be hashed */
#define SEEN_S		 3600 /* a ticket's last use is written down this often at most */
#define TRIES_MAX	 512  /* names and addresses that guessed wrong and are remembered */
#define TRIES_FREE	 5    /* wrong guesses before waiting begins */
#define TRIES_FREE_NAME	 50   /* at one name, from wherever: who has it is not to blame */
#define TRIES_WAIT_MAX_S 300

enum role { ROLE_NONE, ROLE_READ, ROLE_USER, ROLE_ADMIN };
enum ticket_kind { TICKET_SESSION, TICKET_TOKEN, TICKET_INVITATION };
enum registration { REGISTER_OFF, REGISTER_APPROVAL, REGISTER_OPEN };

struct person {
	char name[NAME_MAX_BYTES + 1];
	enum role role;
	bool waiting; /* registered, and not approved yet */
	char hash[PASSWORD_HASH_MAX];
	int64_t created, seen; /* seconds since 1970; seen 0: never */
};

struct ticket {
	enum ticket_kind kind;
	char digest[DIGEST_TEXT_MAX];
	char person[NAME_MAX_BYTES + 1]; /* whose; of an invitation: who made it */
	enum role role;			 /* at most; of an invitation: what it gives */
	char label[LABEL_MAX + 1];	 /* what it is for, or the browser it is in */
	int64_t created, expires, seen;
};

struct people_settings {
	enum registration registration;
	bool guests;  /* who is not logged in may look */
	bool metrics; /* /metrics without a token */
	bool spaces;  /* who is no admin sees his spaces and shares alone (shares.h) */
};

struct shares;

struct people {
	struct person *person[PEOPLE_MAX];
	unsigned npersons;
	struct ticket *ticket[TICKETS_MAX];
	unsigned ntickets;
	struct shares *shares;
	struct people_settings settings;
};

int64_t clock_wall_s(void);

/* ---- people.c: persons and settings. Those that change return 0, or -1 with a refusal */
int people_load(struct cluster *c, const char **why);
void people_free(struct cluster *c);
const char *role_name(enum role role);
/* ROLE_NONE: there is none of this name. */
enum role role_from_name(const char *name);
const char *registration_name(enum registration r);
bool registration_from_name(const char *name, enum registration *out);
struct person *person_by_name(struct cluster *c, const char *name);
int person_check_name(struct cluster *c, const char *name, struct refusal *r);
int person_check_password(const char *password, struct refusal *r);
int person_add(struct cluster *c, const char *name, enum role role, bool waiting, const char *hash,
	       struct refusal *r);
/* Write down what was changed in p. */
int person_save(struct cluster *c, struct person *p, struct refusal *r);
int person_remove(struct cluster *c, struct person *p, struct refusal *r);
unsigned people_admins(struct cluster *c);
int settings_save(struct cluster *c, const struct people_settings *s, struct refusal *r);

/* ---- tickets.c */
int tickets_load(struct cluster *c);
/* secret gets what the person shows from now on. */
int ticket_new(struct cluster *c, enum ticket_kind kind, const char *person, enum role role,
	       const char *label, int64_t lasts_s, char secret[TOKEN_TEXT_MAX], struct refusal *r);
/* The ticket behind a secret, if it is of this kind and has not ended. */
struct ticket *ticket_find(struct cluster *c, enum ticket_kind kind, const char *secret);
struct ticket *ticket_by_id(struct cluster *c, const char *id);
char *ticket_id(const struct ticket *t, char id[TICKET_ID_MAX]);
/* It was used now. */
void ticket_seen(struct cluster *c, struct ticket *t);
int ticket_remove(struct cluster *c, struct ticket *t);
/* All of a person, but keep. kind: -1 for all kinds. */
void tickets_remove(struct cluster *c, const char *person, int kind, const struct ticket *keep);

/* ---- hasher.c: the slow part, on its thread */
struct hash_job {
	struct control_message msg;
	struct control *control;
	char password[PASSWORD_MAX_BYTES + 1]; /* wiped when done */
	char hash[PASSWORD_HASH_MAX];	       /* to compare with; empty: make one */
	int err;
	bool matches;
	void (*done)(struct hash_job *job); /* on the control thread; frees what job is in */
	struct hash_job *next;
};
int hasher_start(struct cluster *c);
void hasher_stop(void);
/* false: too many are waiting. */
bool hasher_add(struct hash_job *job);

/* ---- tries.c: wrong guesses. Pure. */
/* Seconds to wait before key (a name, an address) may try again; 0: now. */
/* free: guesses that may be wrong before waiting begins. */
unsigned tries_wait(const char *key, int64_t now, unsigned free);
void tries_failed(const char *key, int64_t now);
void tries_forget(const char *key);

/* ---- events.c: who did what when */
#define EVENTS_MAX	 2000 /* kept of each sort; older ones go */
#define EVENT_DETAIL_MAX 256
struct event_record {
	uint64_t number;
	int64_t time; /* milliseconds since 1970 */
	char who[HTTP_WHO_MAX];
	char what[40]; /* a word of the table in weft-api(7), as volume.created */
	char object[NAME_MAX_BYTES + 1];
	bool common; /* of those that one may cause without being an admin */
	char detail[EVENT_DETAIL_MAX];
};
/* Is it told only to those who see all files, or did it? */
bool event_is_of_files(const char *what);
int events_load(struct cluster *c);
void events_note(struct cluster *c, const char *who, const char *what, const char *object,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* The newest with a number below before (0: of all) that fit (NULL: all do); returns how many. */
typedef bool event_fits(void *arg, const struct event_record *e);
unsigned events_before(uint64_t before, event_fits *fits, void *arg, struct event_record *out,
		       unsigned max);
uint64_t events_last(void);

#endif
