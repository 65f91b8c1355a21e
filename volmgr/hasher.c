/* Hashing of passwords, one at a time on a thread of its own; see people.h. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "people.h"
#include "banned.h"

static struct {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct hash_job *first, **last;
	unsigned waiting;
	bool quit;
	struct control *control;
} hasher = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static void hasher_returned(struct control_message *m)
{
	struct hash_job *job = (struct hash_job *)((char *)m - offsetof(struct hash_job, msg));

	job->done(job);
}

static void hasher_work(struct hash_job *job)
{
	if (job->hash[0] != '\0')
		job->matches = password_matches(job->password, job->hash);
	else
		job->err = password_hash(job->password, job->hash);
	explicit_bzero(job->password, sizeof(job->password));
	job->msg.fn = hasher_returned;
	control_post(hasher.control, &job->msg);
}

static struct hash_job *hasher_next(void)
{
	struct hash_job *job;

	pthread_mutex_lock(&hasher.lock);
	while (hasher.first == NULL && !hasher.quit)
		pthread_cond_wait(&hasher.cond, &hasher.lock);
	job = hasher.quit ? NULL : hasher.first;
	if (job != NULL) {
		hasher.first = job->next;
		if (hasher.first == NULL)
			hasher.last = &hasher.first;
		hasher.waiting--;
	}
	pthread_mutex_unlock(&hasher.lock);
	return job;
}

static void *hasher_main(void *arg)
{
	struct hash_job *job;

	while ((job = hasher_next()) != NULL)
		hasher_work(job);
	return NULL;
}

int hasher_start(struct cluster *c)
{
	hasher.control = c->control;
	hasher.last = &hasher.first;
	return -pthread_create(&hasher.thread, NULL, hasher_main, NULL);
}

void hasher_stop(void)
{
	pthread_mutex_lock(&hasher.lock);
	hasher.quit = true;
	pthread_cond_signal(&hasher.cond);
	pthread_mutex_unlock(&hasher.lock);
	pthread_join(hasher.thread, NULL);
}

bool hasher_add(struct hash_job *job)
{
	bool room;

	pthread_mutex_lock(&hasher.lock);
	room = hasher.waiting < HASHES_MAX;
	if (room) {
		job->next = NULL;
		*hasher.last = job;
		hasher.last = &job->next;
		hasher.waiting++;
		pthread_cond_signal(&hasher.cond);
	}
	pthread_mutex_unlock(&hasher.lock);
	return room;
}
