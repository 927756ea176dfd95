/* The floor: what the kernel alone asks for. It writes the frame of a chat message to each of N sockets, over and over,
 * as fast as send(2) goes; it reads nothing, decides nothing, forgets nothing.
 *
 *     floor PORT CLIENTS BATCH
 *
 * BATCH frames go out with one send: 1 is what a server pays that writes each delivery by itself, 64 is the most that a
 * server could join while 64 messages are in flight.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "frames.h"

#define ANSWER                                                            \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
/* As the chat's own, with a content of 80 characters; @t: is the load generator's marker. */
#define MESSAGE                                                                                                  \
    "{\"type\":\"message\",\"room\":\"r0\",\"id\":123456,\"seq\":123456,\"username\":\"u12\",\"content\":"       \
    "\"@t:fffff.%016lx here is what I meant to say about it yesterday even.\",\"timestamp\":1767225600000}"

struct peer {
    int fd;
    size_t sent; /* bytes of the batch that the socket has taken already */
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int listen_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
        die("listen");
    return fd;
}

/* Take one client's whole handshake. False where it only looked whether somebody listens. */
static int accept_one(int listener)
{
    char request[2048];
    size_t size = 0;
    ssize_t got;
    int on = 1, fd = accept(listener, NULL, NULL);
    if (fd < 0)
        die("accept");
    do {
        got = recv(fd, request + size, sizeof request - 1 - size, 0);
        if (got <= 0) {
            close(fd);
            return -1;
        }
        request[size += got] = 0;
    } while (!strstr(request, "\r\n\r\n"));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (send(fd, ANSWER, strlen(ANSWER), 0) < 0)
        die("send");
    return fd;
}

static size_t make_batch(char *out, int batch)
{
    char text[400];
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    int size = snprintf(text, sizeof text, MESSAGE, time.tv_sec * 1000000000ul + time.tv_nsec);
    char *at = out;
    while (batch--) {
        at += server_header((uint8_t *)at, size);
        at = mempcpy(at, text, size);
    }
    return at - out;
}

/* Write the batch to one socket, waiting for it where it is full: all get the same. */
static void deliver(struct peer *peer, const char *bytes, size_t size)
{
    while (peer->sent < size) {
        ssize_t taken = send(peer->fd, bytes + peer->sent, size - peer->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (taken >= 0) {
            peer->sent += taken;
        } else if (errno == EAGAIN) {
            struct pollfd full = {peer->fd, POLLOUT, 0};
            poll(&full, 1, -1);
        } else {
            pause(); /* the load generator is done; who started us ends us */
        }
    }
    peer->sent = 0;
}

int main(int count, char **arguments)
{
    int port = count > 1 ? atoi(arguments[1]) : 0;
    int clients = count > 2 ? atoi(arguments[2]) : 0, batch = count > 3 ? atoi(arguments[3]) : 0;
    if (!port || clients < 1 || batch < 1 || batch > 4096) {
        fprintf(stderr, "usage: floor PORT CLIENTS BATCH\n");
        return 2;
    }
    struct rlimit limit = {clients + 64, clients + 64};
    setrlimit(RLIMIT_NOFILE, &limit);
    struct peer *peers = calloc(clients, sizeof *peers);
    char *bytes = malloc(batch * 500);
    if (!peers || !bytes)
        die("malloc");
    int listener = listen_on(port);
    for (int i = 0; i < clients;)
        if ((peers[i].fd = accept_one(listener)) >= 0)
            i++;
    for (;;) {
        size_t size = make_batch(bytes, batch);
        for (int i = 0; i < clients; i++)
            deliver(&peers[i], bytes, size);
    }
}
