/* Each server's protocol: the frames to send, and how received frames begin. To add a server: one row in dialects.c. */
#ifndef DIALECTS_H
#define DIALECTS_H

#include <stdbool.h>
#include <stddef.h>

struct dialect {
    const char *name;
    /* printf forms of: the request's path (room); the join (room, user); the message (room, content, user, number).
     * An empty join: a connected client is in. */
    const char *path;
    const char *greeting; /* the answer to a frame that begins so is `hello`; NULL: join at once */
    const char *hello;
    const char *ready; /* the answer to a frame that begins so is the join */
    const char *join;
    const char *message;
    const char *joined; /* how the reply to the join begins */
    bool joined_names_user; /* such a frame counts only if it has our own name: all clients get it */
    const char *delivery; /* how a delivered message begins */
    const char *refusal; /* how an error begins; NULL if the server sends none */
    const char *text_ping; /* a heartbeat in text, and its reply; or NULL */
    const char *text_pong;
    bool numbered; /* a delivery has `"seq":N`, one more each time */
};

const struct dialect *dialect_named(const char *name);

#endif
