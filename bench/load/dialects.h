/* What to say to each kind of server, and how to tell what is heard. To add a server: one row in dialects.c. */
#ifndef DIALECTS_H
#define DIALECTS_H

#include <stdbool.h>
#include <stddef.h>

struct dialect {
    const char *name;
    /* printf forms of: the request's path (room); the join (room, user); the message (room, content, user, number).
     * An empty join: whoever has connected is in. */
    const char *path;
    const char *greeting; /* the frame that begins so is answered by `hello`; NULL: join at once */
    const char *hello;
    const char *ready; /* the frame that begins so is answered by the join */
    const char *join;
    const char *message;
    const char *joined; /* how the frame begins that answers the join */
    bool joined_names_user; /* such a frame counts only if it has our own name: it goes to everybody */
    const char *delivery; /* how a delivered message begins */
    const char *refusal; /* how an error begins; NULL where the server tells none */
    const char *text_ping; /* a heartbeat in text, and its answer; NULL where there is none */
    const char *text_pong;
    bool numbered; /* a delivery has `"seq":N`, one more each time */
};

const struct dialect *dialect_named(const char *name);

#endif
