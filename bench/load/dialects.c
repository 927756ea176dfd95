#include "dialects.h"

#include <string.h>

static const struct dialect DIALECTS[] = {
    {
        /* This project's protocol. */
        .name = "chat",
        .path = "/ws",
        .join = "{\"type\":\"join\",\"room\":\"r%d\",\"username\":\"u%d\"}",
        .message = "{\"type\":\"message\",\"room\":\"r%d\",\"content\":\"%s\",\"ref\":\"%d-%lu\"}",
        .joined = "{\"type\":\"welcome\"",
        .delivery = "{\"type\":\"message\"",
        .refusal = "{\"type\":\"error\"",
        .numbered = true,
    },
    {
        /* The article's: a join is answered to everybody. */
        .name = "article",
        .path = "/ws",
        .join = "{\"type\":\"join\",\"room\":\"r%d\",\"username\":\"u%d\"}",
        .message = "{\"type\":\"message\",\"room\":\"r%d\",\"content\":\"%s\"}",
        .joined = "{\"type\":\"join\"",
        .joined_names_user = true,
        .delivery = "{\"type\":\"message\"",
    },
    {
        /* The same for servers that tell only the one who joins. */
        .name = "plain",
        .path = "/ws",
        .join = "{\"type\":\"join\",\"room\":\"r%d\",\"username\":\"u%d\"}",
        .message = "{\"type\":\"message\",\"room\":\"r%d\",\"content\":\"%s\"}",
        .joined = "{\"type\":\"welcome\"",
        .delivery = "{\"type\":\"message\"",
    },
    {
        /* The Channels tutorial: the room is in the path, connecting is joining. */
        .name = "tutorial",
        .path = "/ws/chat/r%d/",
        .join = "",
        .message = "{\"room\":\"r%d\",\"message\":\"%s\"}",
        .delivery = "{\"message\"",
    },
    {
        /* Socket.IO 5 over Engine.IO 4, by WebSocket from the start. */
        .name = "socketio",
        .path = "/socket.io/?EIO=4&transport=websocket",
        .greeting = "0{",
        .hello = "40",
        .ready = "40{",
        .join = "421[\"join\",{\"room\":\"r%d\",\"username\":\"u%d\"}]",
        .message = "42[\"message\",{\"room\":\"r%d\",\"content\":\"%s\"}]",
        .joined = "431[",
        .delivery = "42[\"message\"",
        .refusal = "44",
        .text_ping = "2",
        .text_pong = "3",
    },
    {
        /* The floor: it sends to every connected client. */
        .name = "floor",
        .path = "/",
        .join = "",
        .delivery = "{\"type\":\"message\"",
    },
};

const struct dialect *dialect_named(const char *name)
{
    for (size_t i = 0; i < sizeof DIALECTS / sizeof *DIALECTS; i++)
        if (!strcmp(DIALECTS[i].name, name))
            return &DIALECTS[i];
    return NULL;
}
