/* Many clients of one server: their sockets, their input and output. One thread, one epoll. */
#ifndef CROWD_H
#define CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dialects.h"
#include "frames.h"
#include "samples.h"

#define SECOND 1000000000ull

struct options {
    const struct dialect *dialect;
    const char *host;
    int port;
    int rooms;      /* each of */
    int members;    /* clients, of which the first */
    int publishers; /* send: */
    int in_flight;  /* so many messages at once in each room, the next when one's own came back; or */
    double rate;    /* so many messages a second in all, whatever comes back */
    int size;       /* characters of a message's content */
    int sample;     /* the latency of one delivery in so many, at random, is measured */
    int at_once;    /* how many clients may be joining at a time */
    bool listeners_join; /* false: only publishers send the join, the others just connect */
    bool stuck;     /* the last member of the first room does not read while messages are sent */
};

enum stage { CONNECTING, UPGRADING, GREETING, JOINING, IN, GONE };

struct client {
    int fd, index, room;
    enum stage stage;
    bool publisher, stuck;
    struct walker walker;
    char *answer; /* the handshake's response so far; NULL after it */
    size_t answered;
    uint8_t *unsent; /* bytes that the socket did not take yet */
    size_t waiting;
    unsigned long said;     /* messages */
    unsigned long received; /* deliveries */
    unsigned long number;   /* the `seq` that was delivered last; 0 before the first */
};

/* Counts so far. A window is the difference of two. */
struct tally {
    unsigned long sent;       /* messages */
    unsigned long completed;  /* messages that came back to their own publisher */
    unsigned long deliveries; /* messages that reached a client */
    unsigned long frames, bytes;
    unsigned long refused; /* errors that the server sent */
    unsigned long broken;  /* violations of RFC 6455 or of the handshake */
    unsigned long closed;  /* connections that the server ended, or that could not be made */
    unsigned long disorder; /* a delivery whose `seq` is not the one after the last */
};

struct crowd {
    struct options options;
    struct client *clients;
    int count;
    int started, upgraded, in; /* clients that began to connect; that are open; that are in their room */
    bool publishing, sampling;
    struct tally tally;
    struct samples latencies;
    int until_sample;
    uint32_t chance;
    uint64_t now;        /* the monotonic clock in ns, read with each batch of bytes */
    uint64_t heard;      /* when bytes came last */
    uint64_t next_due;   /* when the next message of an open loop is due */
    unsigned long turn;  /* index of the next publisher in an open loop */
    char first_trouble[240]; /* the first refusal, violation or close, as a sentence */
    int epoll, timer;
};

void crowd_make(struct crowd *crowd, const struct options *options);

/* Let clients connect and join until `at_once` are under way. */
void crowd_connect(struct crowd *crowd, int at_once);

void crowd_publish(struct crowd *crowd);

/* The stuck client reads again. */
void crowd_unstick(struct crowd *crowd);

/* Handle events until at least one happened, but at most until `deadline` (monotonic ns). */
void crowd_turn(struct crowd *crowd, uint64_t deadline);

struct client *crowd_stuck(struct crowd *crowd);

uint64_t monotonic(void);

#endif
