#include "crowd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define PORTS_PER_SOURCE 20000 /* Linux gives one source address 28,232 by default */
#define READ_SIZE 65536
#define EVENTS 512
#define ANSWER_LIMIT 4096
#define STUCK_BUFFER 16384
/* As over Ethernet. With the 64 KiB of loopback the server's kernel takes megabytes before the server notices. */
#define STUCK_SEGMENT 1460
#define MARKER "@t:" /* then the publisher's index and the time, both in hexadecimal: @t:0001f.00000012a05f2000 */
#define MARKER_FORM MARKER "%05x.%016lx"
#define MARKER_LENGTH 25

/* With the key of RFC 6455, section 1.3, the right answer is known without computing it. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static uint8_t buffer[READ_SIZE];

uint64_t monotonic(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static bool begins(const struct frame *frame, const char *start)
{
    size_t size = strlen(start);
    return frame->available >= size && !memcmp(frame->payload, start, size);
}

static void trouble(struct crowd *crowd, const char *what, const void *detail, size_t size)
{
    char *text = crowd->first_trouble;
    if (*text)
        return;
    snprintf(text, sizeof crowd->first_trouble, "%s%.*s", what, (int)(size < 200 ? size : 200), (const char *)detail);
    /* It stands in JSON. */
    for (; *text; text++)
        if (*text < ' ' || *text > '~' || *text == '"' || *text == '\\')
            *text = '\'';
}

static void gone(struct crowd *crowd, struct client *client, const char *why)
{
    if (client->stage == GONE)
        return;
    trouble(crowd, why, "", 0);
    crowd->upgraded -= client->stage >= GREETING;
    crowd->in -= client->stage == IN;
    crowd->tally.closed++;
    client->stage = GONE;
    close(client->fd);
}

/* --- Bytes out --- */

static void flush(struct crowd *crowd, struct client *client)
{
    ssize_t taken = send(client->fd, client->unsent, client->waiting, MSG_NOSIGNAL);
    if (taken < 0) {
        if (errno != EAGAIN)
            gone(crowd, client, strerror(errno));
        return;
    }
    client->waiting -= taken;
    memmove(client->unsent, client->unsent + taken, client->waiting);
}

static void put(struct crowd *crowd, struct client *client, const void *bytes, size_t size)
{
    ssize_t taken = 0;
    if (!client->waiting) {
        taken = send(client->fd, bytes, size, MSG_NOSIGNAL);
        if (taken < 0 && errno != EAGAIN) {
            gone(crowd, client, strerror(errno));
            return;
        }
        taken = taken < 0 ? 0 : taken;
    }
    if ((size_t)taken == size)
        return;
    client->unsent = realloc(client->unsent, client->waiting + size - taken);
    if (!client->unsent)
        abort();
    memcpy(client->unsent + client->waiting, (const char *)bytes + taken, size - taken);
    client->waiting += size - taken;
}

static void put_frame(struct crowd *crowd, struct client *client, uint8_t opcode, const void *payload, size_t size)
{
    static uint8_t out[CLIENT_OVERHEAD + READ_SIZE];
    put(crowd, client, out, client_frame(out, opcode, payload, size));
}

static void say(struct crowd *crowd, struct client *client, uint64_t at)
{
    static const char WORDS[] = "Good morning everybody, here is what I meant to say about it yesterday evening. ";
    static char content[READ_SIZE / 2], text[READ_SIZE];
    if (client->stage != IN)
        return;
    int size = snprintf(content, sizeof content, MARKER_FORM " ", client->index, at);
    while (size < crowd->options.size) {
        content[size] = WORDS[size % (sizeof WORDS - 1)];
        size++;
    }
    /* Blanks at an end might be trimmed, and then the sizes would differ between servers. */
    content[size - 1] = '.';
    content[size] = 0;
    size = snprintf(text, sizeof text, crowd->options.dialect->message, client->room, content, client->index,
                    ++client->said);
    crowd->tally.sent++;
    put_frame(crowd, client, OP_TEXT, text, size);
}

static void join(struct crowd *crowd, struct client *client)
{
    const struct dialect *dialect = crowd->options.dialect;
    if (!*dialect->join || !(client->publisher || crowd->options.listeners_join)) {
        client->stage = IN;
        crowd->in++;
        return;
    }
    char text[200];
    client->stage = JOINING;
    put_frame(crowd, client, OP_TEXT, text,
              snprintf(text, sizeof text, dialect->join, client->room, client->index));
}

/* --- Frames in --- */

/* The marker's publisher and time. False where the frame has none. */
static bool read_marker(const struct frame *frame, int *publisher, uint64_t *time)
{
    const char *found = memmem(frame->payload, frame->available, MARKER, strlen(MARKER));
    if (!found || found + MARKER_LENGTH > (const char *)frame->payload + frame->available)
        return false;
    char digits[17] = {0};
    *publisher = strtol(memcpy(digits, found + 3, 5), NULL, 16);
    *time = strtoull(memcpy(digits, found + 9, 16), NULL, 16);
    return true;
}

/* A room's numbers leave no gap: a missing or repeated number shows here. */
static void check_number(struct crowd *crowd, struct client *client, const struct frame *frame)
{
    const char *found = memmem(frame->payload, frame->available, "\"seq\":", 6);
    unsigned long number = found ? strtoul(found + 6, NULL, 10) : 0;
    if (!number || (client->number && number != client->number + 1)) {
        crowd->tally.disorder++;
        trouble(crowd, "not the next number: ", frame->payload, frame->available);
    }
    client->number = number;
}

static void delivered(struct crowd *crowd, struct client *client, const struct frame *frame)
{
    int publisher = -1;
    uint64_t time = 0;
    crowd->tally.deliveries++;
    client->received++;
    bool sampled = --crowd->until_sample <= 0;
    if (sampled) {
        /* By chance, with the right mean: a fixed step would meet the same members again and again. */
        crowd->chance = crowd->chance * 1664525u + 1013904223u;
        crowd->until_sample = 1 + (crowd->chance >> 8) % (2 * crowd->options.sample - 1);
    }
    if ((sampled || client->publisher) && !read_marker(frame, &publisher, &time))
        return;
    if (sampled && crowd->sampling)
        samples_add(&crowd->latencies, crowd->now > time ? crowd->now - time : 0);
    if (crowd->options.dialect->numbered && (client->index % 8 == 0 || client->stuck))
        check_number(crowd, client, frame);
    if (client->publisher && publisher == client->index) {
        crowd->tally.completed++;
        if (crowd->publishing && !crowd->options.rate)
            say(crowd, client, monotonic());
    }
}

static bool answers_join(const struct crowd *crowd, const struct client *client, const struct frame *frame)
{
    if (client->stage != JOINING || !begins(frame, crowd->options.dialect->joined))
        return false;
    if (!crowd->options.dialect->joined_names_user)
        return true;
    char name[32];
    int size = snprintf(name, sizeof name, "\"u%d\"", client->index);
    return memmem(frame->payload, frame->available, name, size);
}

static void heard_text(struct crowd *crowd, struct client *client, const struct frame *frame)
{
    const struct dialect *dialect = crowd->options.dialect;
    if (begins(frame, dialect->delivery)) {
        delivered(crowd, client, frame);
    } else if (answers_join(crowd, client, frame)) {
        client->stage = IN;
        crowd->in++;
    } else if (dialect->refusal && begins(frame, dialect->refusal)) {
        crowd->tally.refused++;
        trouble(crowd, "refused: ", frame->payload, frame->available);
    } else if (dialect->text_ping && frame->length == 1 && begins(frame, dialect->text_ping)) {
        put_frame(crowd, client, OP_TEXT, dialect->text_pong, strlen(dialect->text_pong));
    } else if (client->stage == GREETING && begins(frame, dialect->greeting)) {
        put_frame(crowd, client, OP_TEXT, dialect->hello, strlen(dialect->hello));
    } else if (client->stage == GREETING && begins(frame, dialect->ready)) {
        join(crowd, client);
    }
}

struct hearing {
    struct crowd *crowd;
    struct client *client;
};

static void heard(void *context, const struct frame *frame)
{
    struct crowd *crowd = ((struct hearing *)context)->crowd;
    struct client *client = ((struct hearing *)context)->client;
    crowd->tally.frames++;
    if (client->stage == GONE)
        return;
    if (frame->opcode == OP_PING) {
        put_frame(crowd, client, OP_PONG, frame->payload, frame->available);
    } else if (frame->opcode == OP_CLOSE) {
        char why[48];
        unsigned code = frame->available > 1 ? frame->payload[0] << 8 | frame->payload[1] : 1005;
        snprintf(why, sizeof why, "the server closed with %u ", code);
        trouble(crowd, why, frame->payload + 2, frame->available > 2 ? frame->available - 2 : 0);
        gone(crowd, client, why);
    } else if (frame->opcode != OP_PONG && frame->opcode != OP_CONTINUATION) {
        heard_text(crowd, client, frame);
    }
}

/* --- Bytes in --- */

static void broken(struct crowd *crowd, struct client *client, const char *what, const void *detail, size_t size)
{
    crowd->tally.broken++;
    trouble(crowd, what, detail, size);
    gone(crowd, client, what);
}

/* Take the handshake's answer. Returns how many of the bytes belong to it. */
static size_t upgrade(struct crowd *crowd, struct client *client, const uint8_t *bytes, size_t size)
{
    size_t before = client->answered;
    if (!client->answer && !(client->answer = malloc(ANSWER_LIMIT + 1)))
        abort();
    size_t room = ANSWER_LIMIT - before, taken = size < room ? size : room;
    memcpy(client->answer + before, bytes, taken);
    client->answered += taken;
    client->answer[client->answered] = 0;
    char *end = strstr(client->answer, "\r\n\r\n");
    if (!end) {
        if (client->answered == ANSWER_LIMIT)
            broken(crowd, client, "the handshake's answer has no end", "", 0);
        return taken;
    }
    size_t used = end + 4 - client->answer;
    if (strncmp(client->answer, "HTTP/1.1 101", 12) || !strstr(client->answer, ACCEPT)) {
        broken(crowd, client, "the handshake was refused: ", client->answer, strcspn(client->answer, "\r\n"));
        return taken;
    }
    crowd->upgraded++;
    client->stage = GREETING;
    if (!crowd->options.dialect->greeting)
        join(crowd, client);
    return used - before;
}

static void take(struct crowd *crowd, struct client *client, const uint8_t *bytes, size_t size)
{
    crowd->tally.bytes += size;
    crowd->now = crowd->heard = monotonic();
    if (client->stage == UPGRADING) {
        size_t used = upgrade(crowd, client, bytes, size);
        bytes += used;
        size -= used;
        if (client->stage != UPGRADING) {
            free(client->answer);
            client->answer = NULL;
        }
    }
    struct hearing hearing = {crowd, client};
    if (client->stage != GONE && size)
        walk(&client->walker, bytes, size, heard, &hearing);
    if (client->walker.error && client->stage != GONE)
        broken(crowd, client, client->walker.error, "", 0);
}

/* Read all there is. Edge-triggered: after a read that does not fill the buffer nothing is left, and the next byte is
 * a new edge; only after a hang-up (`to_the_end`) no other will come. */
static void receive(struct crowd *crowd, struct client *client, bool to_the_end)
{
    ssize_t size;
    do {
        size = recv(client->fd, buffer, sizeof buffer, 0);
        if (size == 0) {
            gone(crowd, client, "the server cut the connection");
        } else if (size < 0 && errno != EAGAIN) {
            gone(crowd, client, strerror(errno));
        } else if (size > 0) {
            take(crowd, client, buffer, size);
        }
    } while (client->stage != GONE && (size == sizeof buffer || (size > 0 && to_the_end)));
}

/* --- Connecting --- */

static void send_request(struct crowd *crowd, struct client *client)
{
    char path[200], request[600];
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        gone(crowd, client, strerror(error));
        return;
    }
    client->stage = UPGRADING;
    snprintf(path, sizeof path, crowd->options.dialect->path, client->room);
    put(crowd, client, request,
        snprintf(request, sizeof request,
                 "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n",
                 path, crowd->options.host, crowd->options.port));
}

static void bind_source(struct crowd *crowd, struct client *client)
{
    /* One loopback address has too few ports for more; 127.0.0.2 and on are there without any set-up. */
    if (crowd->count <= PORTS_PER_SOURCE)
        return;
    struct sockaddr_in source = {.sin_family = AF_INET};
    int on = 1;
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + client->index / PORTS_PER_SOURCE);
    setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(client->fd, (struct sockaddr *)&source, sizeof source))
        trouble(crowd, "bind: ", strerror(errno), 60);
}

static void start(struct crowd *crowd, struct client *client)
{
    const struct options *options = &crowd->options;
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(options->port)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = client};
    int on = 1, small = STUCK_BUFFER, segment = STUCK_SEGMENT;
    inet_pton(AF_INET, options->host, &server.sin_addr);
    client->stage = CONNECTING;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0) {
        perror("socket");
        exit(1);
    }
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (options->stuck && client == crowd_stuck(crowd)) {
        setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        setsockopt(client->fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    }
    bind_source(crowd, client);
    if (connect(client->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)
        gone(crowd, client, strerror(errno));
    else
        epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, client->fd, &event);
}

void crowd_connect(struct crowd *crowd, int at_once)
{
    int done = crowd->in + crowd->tally.closed;
    for (; crowd->started < crowd->count && crowd->started - done < at_once; crowd->started++)
        start(crowd, &crowd->clients[crowd->started]);
}

/* --- Publishing --- */

static void publish_due(struct crowd *crowd)
{
    uint64_t now = monotonic();
    int speakers = crowd->options.rooms * crowd->options.publishers;
    for (; crowd->next_due <= now; crowd->next_due += SECOND / crowd->options.rate) {
        int speaker = crowd->turn++ % speakers;
        int index = speaker / crowd->options.publishers * crowd->options.members + speaker % crowd->options.publishers;
        /* The time it was due, not the time it was sent: what holds us up counts as latency. */
        say(crowd, &crowd->clients[index], crowd->next_due);
    }
}

static void set_timer(struct crowd *crowd)
{
    struct itimerspec at = {.it_value = {crowd->next_due / SECOND, crowd->next_due % SECOND}};
    timerfd_settime(crowd->timer, TFD_TIMER_ABSTIME, &at, NULL);
}

void crowd_publish(struct crowd *crowd)
{
    const struct options *options = &crowd->options;
    crowd->publishing = true;
    if (crowd_stuck(crowd))
        crowd_stuck(crowd)->stuck = true;
    if (options->rate) {
        crowd->next_due = monotonic();
        set_timer(crowd);
        return;
    }
    for (int room = 0; options->publishers && room < options->rooms; room++)
        for (int i = 0; i < options->in_flight; i++)
            say(crowd, &crowd->clients[room * options->members + i % options->publishers], monotonic());
}

void crowd_unstick(struct crowd *crowd)
{
    struct client *client = crowd_stuck(crowd);
    int large = 4 << 20;
    if (!client || client->stage == GONE)
        return;
    setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    client->stuck = false;
    receive(crowd, client, true);
}

struct client *crowd_stuck(struct crowd *crowd)
{
    return crowd->options.stuck ? &crowd->clients[crowd->options.members - 1] : NULL;
}

/* --- The loop --- */

static void happened(struct crowd *crowd, struct client *client, uint32_t events)
{
    if (client->stage == CONNECTING && events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
        send_request(crowd, client);
    if (client->stage != GONE && client->waiting && events & EPOLLOUT)
        flush(crowd, client);
    bool ended = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (client->stage != GONE && !client->stuck && (events & EPOLLIN || ended))
        receive(crowd, client, ended);
}

static void timer_rang(struct crowd *crowd)
{
    uint64_t times;
    if (read(crowd->timer, &times, sizeof times) < 0 || !crowd->publishing)
        return;
    publish_due(crowd);
    set_timer(crowd);
}

void crowd_turn(struct crowd *crowd, uint64_t deadline)
{
    struct epoll_event events[EVENTS];
    uint64_t now = monotonic();
    int timeout = deadline > now ? (deadline - now + 999999) / 1000000 : 0;
    int count = epoll_wait(crowd->epoll, events, EVENTS, timeout);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr)
            happened(crowd, events[i].data.ptr, events[i].events);
        else
            timer_rang(crowd);
    }
}

void crowd_make(struct crowd *crowd, const struct options *options)
{
    struct epoll_event event = {.events = EPOLLIN};
    *crowd = (struct crowd){.options = *options, .until_sample = 1, .chance = 12345};
    crowd->count = options->rooms * options->members;
    crowd->clients = calloc(crowd->count, sizeof *crowd->clients);
    crowd->epoll = epoll_create1(EPOLL_CLOEXEC);
    crowd->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (!crowd->clients || crowd->epoll < 0 || crowd->timer < 0) {
        perror("crowd");
        exit(1);
    }
    epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, crowd->timer, &event);
    for (int i = 0; i < crowd->count; i++) {
        struct client *client = &crowd->clients[i];
        client->index = i;
        client->room = i / options->members;
        client->publisher = i % options->members < options->publishers;
    }
}
