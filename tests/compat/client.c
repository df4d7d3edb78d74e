/*
 * What a program on libzookeeper_mt may ask of a server. Usage: client HOST:PORT
 *
 * Prints TAP and ends with status 1 at the first thing that is not as it should be. The sessions
 * that get lost belong to children, forked before there are threads, which end without a goodbye.
 * Everything is below /c, which must not exist.
 */

#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <zookeeper/zookeeper.h>

#define WAIT_S 20
#define PIPELINED 1000
#define TIMEOUT_MS 10000
#define SHORT_TIMEOUT_MS 2000

static int tests_done;
static const char *address;

/* What is checked reads as a sentence; the first that is false ends the program. */
static void check(int holds, const char *form, ...)
{
    va_list arguments;
    va_start(arguments, form);
    printf("%s %d - ", holds ? "ok" : "not ok", ++tests_done);
    vprintf(form, arguments);
    printf("\n");
    va_end(arguments);
    fflush(stdout);
    if (!holds) {
        exit(1);
    }
}

/* Like check, for a call of the library: the code that it must give, and the code that it gave. */
static void check_code(int want, int got, const char *what)
{
    if (want != got) {
        printf("# %s gave %s, not %s\n", what, zerror(got), zerror(want));
    }
    check(want == got, "%s: %s", what, zerror(want));
}

/* Events: what has come, in order, from whichever thread of the library. */

struct event {
    int type;
    int state;
    char path[256];
};

struct inbox {
    pthread_mutex_t lock;
    pthread_cond_t grown;
    struct event events[64];
    int count;
    int taken;
};

static void inbox_open(struct inbox *inbox)
{
    memset(inbox, 0, sizeof *inbox);
    pthread_mutex_init(&inbox->lock, NULL);
    pthread_cond_init(&inbox->grown, NULL);
}

static void on_event(zhandle_t *handle, int type, int state, const char *path, void *context)
{
    struct inbox *inbox = context;
    (void)handle;
    if (inbox == NULL) {
        return; /* a child that does not look */
    }
    pthread_mutex_lock(&inbox->lock);
    if (inbox->count < (int)(sizeof inbox->events / sizeof inbox->events[0])) {
        struct event *event = &inbox->events[inbox->count++];
        event->type = type;
        event->state = state;
        snprintf(event->path, sizeof event->path, "%s", path);
    }
    pthread_cond_broadcast(&inbox->grown);
    pthread_mutex_unlock(&inbox->lock);
}

/* Take the next event within WAIT_S; type 0 when there is none. */
static struct event next_event(struct inbox *inbox)
{
    struct event event = {0, 0, ""};
    struct timespec until;
    int failed = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&inbox->lock);
    while (inbox->taken == inbox->count && !failed) {
        failed = pthread_cond_timedwait(&inbox->grown, &inbox->lock, &until);
    }
    if (inbox->taken < inbox->count) {
        event = inbox->events[inbox->taken++];
    }
    pthread_mutex_unlock(&inbox->lock);
    return event;
}

static void check_event(struct inbox *inbox, int type, const char *path)
{
    struct event event = next_event(inbox);
    if (event.type != type || strcmp(event.path, path) != 0) {
        printf("# event %d of %s came\n", event.type, event.path);
    }
    check(event.type == type && strcmp(event.path, path) == 0, "the watch on %s fires", path);
}

static void check_state(struct inbox *inbox, int state, const char *what)
{
    struct event event = next_event(inbox);
    if (event.state != state) {
        printf("# event %d with state %d came\n", event.type, event.state);
    }
    check(event.type == ZOO_SESSION_EVENT && event.state == state, "%s", what);
}

static zhandle_t *connected(struct inbox *inbox, const clientid_t *session, int timeout_ms)
{
    zhandle_t *handle;
    inbox_open(inbox);
    handle = zookeeper_init(address, on_event, timeout_ms, session, inbox, 0);
    check(handle != NULL, "zookeeper_init takes %s", address);
    check_state(inbox, ZOO_CONNECTED_STATE, "connected");
    return handle;
}

/* A child opens a session, makes an ephemeral, hands its id over and is gone without a close. */
static clientid_t abandoned_session(const char *ephemeral, int timeout_ms)
{
    const struct timespec pause = {0, 50 * 1000 * 1000};
    clientid_t session;
    int ends[2];
    int status;
    pid_t child;
    memset(&session, 0, sizeof session);
    check(pipe(ends) == 0, "a pipe for %s", ephemeral);
    child = fork();
    if (child == 0) {
        zhandle_t *handle = zookeeper_init(address, on_event, timeout_ms, NULL, NULL, 0);
        int code = ZOPERATIONTIMEOUT;
        for (int tries = 0; handle != NULL && tries < WAIT_S * 20 && code != ZOK; tries++) {
            nanosleep(&pause, NULL);
            if (zoo_state(handle) == ZOO_CONNECTED_STATE) {
                code = zoo_create(handle, ephemeral, "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL,
                                  NULL, 0);
            }
        }
        if (code == ZOK) {
            session = *zoo_client_id(handle);
        }
        _exit(code == ZOK && write(ends[1], &session, sizeof session) == sizeof session ? 0 : 1);
    }
    close(ends[1]);
    check(child > 0 && read(ends[0], &session, sizeof session) == sizeof session,
          "a child makes %s and gives its session away", ephemeral);
    waitpid(child, &status, 0);
    close(ends[0]);
    return session;
}

static void test_create(zhandle_t *handle)
{
    char path[256];
    struct Stat stat;
    check_code(ZOK, zoo_create(handle, "/c", "root", 4, &ZOO_OPEN_ACL_UNSAFE, 0, path, 256),
               "create");
    check(strcmp(path, "/c") == 0, "create gives the path");
    check_code(ZNODEEXISTS, zoo_create(handle, "/c", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0),
               "create again");
    check_code(ZNONODE, zoo_create(handle, "/no/one", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0),
               "create without a parent");
    for (int number = 0; number < 2; number++) {
        char want[256];
        check_code(ZOK, zoo_create(handle, "/c/s-", "", 0, &ZOO_OPEN_ACL_UNSAFE,
                                   ZOO_PERSISTENT_SEQUENTIAL, path, 256), "create, sequential");
        snprintf(want, sizeof want, "/c/s-%010d", number);
        check(strcmp(path, want) == 0, "it is %s", want);
    }
    check_code(ZOK, zoo_create(handle, "/c/e", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, path,
                               256), "create, ephemeral");
    check_code(ZNOCHILDRENFOREPHEMERALS,
               zoo_create(handle, "/c/e/f", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0),
               "create below an ephemeral");
    check_code(ZOK, zoo_exists(handle, "/c/e", 0, &stat), "exists of the ephemeral");
    check(stat.ephemeralOwner == zoo_client_id(handle)->client_id, "this session owns it");
    check_code(ZOK, zoo_create2(handle, "/c/es-", "", 0, &ZOO_OPEN_ACL_UNSAFE,
                                ZOO_EPHEMERAL_SEQUENTIAL, path, 256, &stat), "create2");
    check(strcmp(path, "/c/es-0000000003") == 0 && stat.version == 0, "create2 gives a Stat");
    check_code(ZOK, zoo_create(handle, "/c/box", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_CONTAINER, path,
                               256), "create, container");
    check_code(ZOK, zoo_create2_ttl(handle, "/c/ttl", "", 0, &ZOO_OPEN_ACL_UNSAFE,
                                    ZOO_PERSISTENT_WITH_TTL, 600000, path, 256, &stat),
               "create, with a time to live");
    check(stat.ephemeralOwner == 0, "nobody owns it");
}

static void test_data(zhandle_t *handle)
{
    char data[16];
    int length = sizeof data;
    struct Stat stat;
    check_code(ZOK, zoo_get(handle, "/c", 0, data, &length, &stat), "get");
    check(length == 4 && memcmp(data, "root", 4) == 0 && stat.version == 0, "get gives the data");
    check_code(ZOK, zoo_set2(handle, "/c", "new", 3, 0, &stat), "set of version 0");
    check(stat.version == 1 && stat.dataLength == 3, "set gives the Stat");
    check_code(ZBADVERSION, zoo_set(handle, "/c", "late", 4, 0), "set of version 0 again");
    check_code(ZNONODE, zoo_set(handle, "/c/none", "", 0, -1), "set of what is not there");
    check_code(ZOK, zoo_set(handle, "/c", NULL, -1, -1), "set without data");
    length = sizeof data;
    check_code(ZOK, zoo_get(handle, "/c", 0, data, &length, &stat), "get without data");
    check(length == -1 && stat.version == 2 && stat.dataLength == 0, "it has no data");
    check_code(ZOK, zoo_set(handle, "/c", "", 0, -1), "set of empty data");
    length = sizeof data;
    check_code(ZOK, zoo_get(handle, "/c", 0, data, &length, &stat), "get of empty data");
    check(length == 0, "it has empty data");
}

static void test_children(zhandle_t *handle)
{
    struct String_vector names;
    struct Stat stat;
    int found = 0;
    check_code(ZOK, zoo_get_children2(handle, "/c", 0, &names, &stat), "children");
    for (int i = 0; i < names.count; i++) {
        found += strcmp(names.data[i], "s-0000000001") == 0;
    }
    check(names.count == stat.numChildren && found == 1, "children gives %d names", names.count);
    deallocate_String_vector(&names);
    check_code(ZNOTEMPTY, zoo_delete(handle, "/c", -1), "delete of what has children");
    check_code(ZBADVERSION, zoo_delete(handle, "/c/s-0000000001", 7), "delete of version 7");
    check_code(ZOK, zoo_delete(handle, "/c/s-0000000001", 0), "delete of version 0");
    check_code(ZNONODE, zoo_delete(handle, "/c/s-0000000001", -1), "delete again");
}

static void test_watches(zhandle_t *handle)
{
    struct inbox inbox;
    struct Stat stat;
    struct String_vector names;
    char data[16];
    int length = sizeof data;
    inbox_open(&inbox);
    check_code(ZNONODE, zoo_wexists(handle, "/c/w", on_event, &inbox, &stat), "exists watch");
    check_code(ZOK, zoo_create(handle, "/c/w", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), "create");
    check_event(&inbox, ZOO_CREATED_EVENT, "/c/w");
    check_code(ZOK, zoo_wget(handle, "/c/w", on_event, &inbox, data, &length, &stat),
               "data watch");
    check_code(ZOK, zoo_set(handle, "/c/w", "x", 1, -1), "set");
    check_event(&inbox, ZOO_CHANGED_EVENT, "/c/w");
    check_code(ZOK, zoo_wget_children(handle, "/c/w", on_event, &inbox, &names), "child watch");
    deallocate_String_vector(&names);
    check_code(ZOK, zoo_create(handle, "/c/w/x", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0),
               "create below");
    check_event(&inbox, ZOO_CHILD_EVENT, "/c/w");
    check_code(ZOK, zoo_wexists(handle, "/c/w/x", on_event, &inbox, &stat), "exists watch");
    check_code(ZOK, zoo_delete(handle, "/c/w/x", -1), "delete");
    check_event(&inbox, ZOO_DELETED_EVENT, "/c/w/x");

    length = sizeof data;
    check_code(ZOK, zoo_wget(handle, "/c/w", on_event, &inbox, data, &length, &stat),
               "data watch, to be removed");
    check_code(ZOK, zoo_remove_watches(handle, "/c/w", ZWATCHTYPE_DATA, on_event, &inbox, 0),
               "remove watches");
    check_code(ZNOWATCHER, zoo_remove_watches(handle, "/c/w", ZWATCHTYPE_DATA, on_event, &inbox, 0),
               "remove watches again");
    check_code(ZOK, zoo_set(handle, "/c/w", "y", 1, -1), "set, with nobody watching");
    check_code(ZOK, zoo_exists(handle, "/c/w", 0, &stat), "a reply behind it");
    check(inbox.taken == inbox.count, "no event came");
}

static void test_multi(zhandle_t *handle)
{
    zoo_op_t ops[4];
    zoo_op_result_t results[4];
    char path[256];
    struct Stat stat;
    zoo_create_op_init(&ops[0], "/c/m", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path);
    zoo_check_op_init(&ops[1], "/c/m", 0);
    zoo_set_op_init(&ops[2], "/c/m", "22", 2, 0, &stat);
    zoo_delete_op_init(&ops[3], "/c/s-0000000000", -1);
    check_code(ZOK, zoo_multi(handle, 4, ops, results), "multi");
    check(strcmp(path, "/c/m") == 0 && stat.version == 1 && stat.dataLength == 2,
          "multi gives the results");
    zoo_delete_op_init(&ops[0], "/c/m", -1);
    zoo_check_op_init(&ops[1], "/c", 99);
    zoo_delete_op_init(&ops[2], "/c/w", -1);
    check_code(ZBADVERSION, zoo_multi(handle, 3, ops, results), "multi that fails");
    check(results[0].err == ZOK && results[1].err == ZBADVERSION
              && results[2].err == ZRUNTIMEINCONSISTENCY, "multi says which one failed");
    check_code(ZOK, zoo_exists(handle, "/c/m", 0, &stat), "and nothing was done");
}

static void on_auth(int code, const void *context)
{
    on_event(NULL, 1, code, "auth", (void *)context);
}

static void test_acl(zhandle_t *handle)
{
    struct inbox inbox, other_inbox;
    struct ACL_vector acl;
    struct Stat stat;
    char data[16];
    int length = sizeof data;
    zhandle_t *other = connected(&other_inbox, NULL, TIMEOUT_MS);
    inbox_open(&inbox);
    check_code(ZINVALIDACL, zoo_create(handle, "/c/a", "", 0, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0),
               "creator ACL without a creator");
    check_code(ZOK, zoo_add_auth(handle, "digest", "ann:secret", 10, on_auth, &inbox), "add auth");
    check(next_event(&inbox).state == ZOK, "ann is believed");
    check_code(ZOK, zoo_create(handle, "/c/a", "hers", 4, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0),
               "creator ACL");
    check_code(ZNOAUTH, zoo_get(other, "/c/a", 0, data, &length, &stat), "get by another");
    check_code(ZOK, zoo_get_acl(handle, "/c/a", &acl, &stat), "get ACL");
    check(acl.count == 1 && strcmp(acl.data[0].id.scheme, "digest") == 0
              && strncmp(acl.data[0].id.id, "ann:", 4) == 0, "it names ann");
    deallocate_ACL_vector(&acl);
    check_code(ZOK, zoo_set_acl(handle, "/c/a", 0, &ZOO_READ_ACL_UNSAFE), "set ACL of version 0");
    check_code(ZOK, zoo_get(other, "/c/a", 0, data, &length, &stat), "get by another");
    check(stat.aversion == 1, "the ACL has version 1");
    check_code(ZNOAUTH, zoo_set(other, "/c/a", "", 0, -1), "set by another");
    zookeeper_close(other);
}

/* Pipelining: the replies come in the order of the requests. */

struct pipeline {
    struct inbox inbox;
    int next;
    int wrong;
};

static struct pipeline pipeline;

static void on_created(int code, const char *value, const void *data)
{
    char want[256];
    snprintf(want, sizeof want, "/c/p/%d", pipeline.next);
    if (code != ZOK || data != &pipeline || strcmp(value, want) != 0) {
        pipeline.wrong++;
    }
    pipeline.next++;
}

static void on_synced(int code, const char *value, const void *data)
{
    (void)data;
    on_event(NULL, 1, code, value, &pipeline.inbox);
}

static void test_pipeline(zhandle_t *handle)
{
    struct Stat stat;
    struct event event;
    int sent = 0;
    inbox_open(&pipeline.inbox);
    check_code(ZOK, zoo_create(handle, "/c/p", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), "create");
    for (int i = 0; i < PIPELINED; i++) {
        char path[256];
        snprintf(path, sizeof path, "/c/p/%d", i);
        sent += zoo_acreate(handle, path, path, strlen(path), &ZOO_OPEN_ACL_UNSAFE, 0, on_created,
                            &pipeline) == ZOK;
    }
    check(sent == PIPELINED, "%d creates go out without waiting", PIPELINED);
    check_code(ZOK, zoo_async(handle, "/c/p", on_synced, NULL), "sync behind them");
    event = next_event(&pipeline.inbox);
    check(event.state == ZOK && strcmp(event.path, "/c/p") == 0, "sync answers");
    check(pipeline.next == PIPELINED && pipeline.wrong == 0,
          "all were answered before it, in order");
    check_code(ZOK, zoo_exists(handle, "/c/p", 0, &stat), "exists");
    check(stat.numChildren == PIPELINED, "all of them are there");
}

static void test_lost_sessions(zhandle_t *handle, const clientid_t *kept, const clientid_t *lost,
                               struct inbox *watched)
{
    struct inbox inbox;
    struct Stat stat;
    zhandle_t *again = connected(&inbox, kept, TIMEOUT_MS);
    check(zoo_client_id(again)->client_id == kept->client_id, "re-attached by id and password");
    check_code(ZOK, zoo_exists(again, "/kept", 0, &stat), "its ephemeral is there");
    check(stat.ephemeralOwner == kept->client_id, "and is its own");
    check_code(ZOK, zookeeper_close(again), "close");
    check_code(ZNONODE, zoo_exists(handle, "/kept", 0, &stat), "its ephemeral is gone");

    check_event(watched, ZOO_DELETED_EVENT, "/lost");
    inbox_open(&inbox);
    again = zookeeper_init(address, on_event, TIMEOUT_MS, lost, &inbox, 0);
    check_state(&inbox, ZOO_EXPIRED_SESSION_STATE, "the session that was left alone has expired");
    check(is_unrecoverable(again) == ZINVALIDSTATE, "and cannot be had again");
    zookeeper_close(again);
}

int main(int argc, char **argv)
{
    struct inbox inbox, watched;
    struct Stat stat;
    clientid_t kept, lost;
    zhandle_t *handle;
    if (argc != 2) {
        fprintf(stderr, "usage: %s HOST:PORT\n", argv[0]);
        return 2;
    }
    address = argv[1];
    alarm(6 * WAIT_S);
    zoo_set_debug_level(0);

    kept = abandoned_session("/kept", TIMEOUT_MS);
    lost = abandoned_session("/lost", SHORT_TIMEOUT_MS);
    handle = connected(&inbox, NULL, TIMEOUT_MS);
    inbox_open(&watched);
    check_code(ZOK, zoo_wexists(handle, "/lost", on_event, &watched, &stat),
               "a session that was just left is still there");
    test_create(handle);
    test_data(handle);
    test_children(handle);
    test_watches(handle);
    test_multi(handle);
    test_acl(handle);
    test_pipeline(handle);
    test_lost_sessions(handle, &kept, &lost, &watched);
    check_code(ZOK, zookeeper_close(handle), "close");
    printf("1..%d\n", tests_done);
    return 0;
}
