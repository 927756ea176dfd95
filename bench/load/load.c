/* The load generator: a crowd of WebSocket clients in one process, on one core.
 *
 *     load --port 8000 --dialect chat --members 1000 --publishers 50 --in-flight 64 --seconds 4
 *
 * It writes one JSON object a line: {"event": "joined"}, "start", "end" as these happen, so that the reader can measure the
 * server at those moments, and at last "result". Latency is from the moment that a message is sent (or, at a fixed
 * rate, was due) to the moment that the bytes of the delivery were read.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "crowd.h"

#define CONNECT_PATIENCE (60 * SECOND)
#define QUIET (SECOND / 2)
#define SETTLE_PATIENCE (20 * SECOND)
#define CATCH_UP_PATIENCE (20 * SECOND)

/* The measurements between "start" and "end". */
struct window {
    uint64_t began, ended;
    double own_cpu; /* seconds */
    struct tally tally;
};

struct plan {
    const char *work; /* messages, arrivals */
    double warm_up, seconds;
    double patience; /* seconds: how long to wait for the deliveries; how long it must be quiet after the arrivals */
};

static double own_cpu(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void tell(const char *event)
{
    printf("{\"event\": \"%s\"}\n", event);
    fflush(stdout);
}

static void begin(struct crowd *crowd, struct window *window)
{
    tell("start");
    window->began = monotonic();
    window->own_cpu = own_cpu();
    window->tally = crowd->tally;
    crowd->sampling = true;
}

static void end(struct crowd *crowd, struct window *window)
{
    const struct tally *before = &window->tally, *after = &crowd->tally;
    window->ended = monotonic();
    window->own_cpu = own_cpu() - window->own_cpu;
    crowd->sampling = false;
    window->tally = (struct tally){
        .sent = after->sent - before->sent,
        .completed = after->completed - before->completed,
        .deliveries = after->deliveries - before->deliveries,
        .frames = after->frames - before->frames,
        .bytes = after->bytes - before->bytes,
    };
    tell("end");
}

static void run_for(struct crowd *crowd, double seconds)
{
    uint64_t deadline = monotonic() + (uint64_t)(seconds * SECOND);
    while (monotonic() < deadline)
        crowd_turn(crowd, deadline);
}

/* Go on until no bytes came for `quiet` nanoseconds, but not for longer than `patience`. */
static void settle(struct crowd *crowd, uint64_t quiet, uint64_t patience)
{
    uint64_t deadline = monotonic() + patience, now;
    while ((now = monotonic()) < deadline) {
        if (now >= crowd->heard + quiet)
            return;
        crowd_turn(crowd, crowd->heard + quiet < deadline ? crowd->heard + quiet : deadline);
    }
}

/* Let all connect and join. */
static bool assemble(struct crowd *crowd)
{
    uint64_t deadline = monotonic() + CONNECT_PATIENCE;
    while (crowd->in < crowd->count && !crowd->tally.closed && monotonic() < deadline) {
        crowd_connect(crowd, crowd->options.at_once);
        crowd_turn(crowd, deadline);
    }
    return crowd->in == crowd->count;
}

/* How many deliveries the messages that were sent make, the stuck client's aside. */
static unsigned long expected(const struct crowd *crowd)
{
    return crowd->tally.sent * (crowd->options.members - crowd->options.stuck);
}

static unsigned long arrived(struct crowd *crowd)
{
    return crowd->tally.deliveries - (crowd->options.stuck ? crowd_stuck(crowd)->received : 0);
}

/* Wait for what is under way. */
static void drain(struct crowd *crowd, double patience)
{
    uint64_t deadline = monotonic() + (uint64_t)(patience * SECOND);
    while (arrived(crowd) < expected(crowd) && monotonic() < deadline)
        crowd_turn(crowd, deadline);
}

static void report_stuck(struct crowd *crowd)
{
    struct client *client = crowd_stuck(crowd);
    unsigned long before = client->received, disorder = crowd->tally.disorder;
    uint64_t began = monotonic();
    crowd_unstick(crowd);
    while (client->stage != GONE && client->received < crowd->tally.sent && monotonic() < began + CATCH_UP_PATIENCE)
        crowd_turn(crowd, began + CATCH_UP_PATIENCE);
    printf("\"stuck\": {\"expected\": %lu, \"received\": %lu, \"caught_up\": %lu, \"seconds\": %.3f, "
           "\"disorder\": %lu, \"closed\": %s}, ",
           crowd->tally.sent, client->received, client->received - before, (monotonic() - began) / 1e9,
           crowd->tally.disorder - disorder, client->stage == GONE ? "true" : "false");
}

static void report(struct crowd *crowd, const struct window *window, double join_seconds)
{
    const struct tally *in = &window->tally, *all = &crowd->tally;
    struct samples *latencies = &crowd->latencies;
    double seconds = (window->ended - window->began) / 1e9;
    bool floor = !crowd->options.dialect->message;
    printf("{\"event\": \"result\", ");
    if (crowd_stuck(crowd))
        report_stuck(crowd);
    samples_sort(latencies);
    printf("\"clients\": %d, \"join_seconds\": %.4f, \"seconds\": %.4f, \"sent\": %lu, \"completed\": %lu, "
           "\"deliveries\": %lu, \"frames\": %lu, \"bytes\": %lu, \"own_cpu\": %.4f, ",
           crowd->count, join_seconds, seconds, in->sent, in->completed, in->deliveries, in->frames, in->bytes,
           window->own_cpu / seconds);
    printf("\"latency_ms\": {\"p50\": %.4f, \"p90\": %.4f, \"p99\": %.4f, \"max\": %.4f, \"samples\": %zu}, ",
           samples_quantile(latencies, 0.5), samples_quantile(latencies, 0.9), samples_quantile(latencies, 0.99),
           samples_quantile(latencies, 1.0), latencies->count);
    printf("\"missing\": %ld, \"refused\": %lu, \"broken\": %lu, \"closed\": %lu, \"disorder\": %lu, "
           "\"trouble\": \"%s\"}\n",
           floor ? 0 : (long)(expected(crowd) - arrived(crowd)), all->refused, all->broken, all->closed,
           all->disorder, crowd->first_trouble);
    fflush(stdout);
}

static int fail(struct crowd *crowd, const char *what)
{
    printf("{\"event\": \"failed\", \"why\": \"%s: of %d, %d open, %d in a room. %s\"}\n", what, crowd->count,
           crowd->upgraded, crowd->in, crowd->first_trouble);
    fflush(stdout);
    return 1;
}

/* Everybody joins, some speak, all listen. Without publishers: everybody is idle. */
static int messages(struct crowd *crowd, const struct plan *plan)
{
    struct window window;
    uint64_t began = monotonic();
    if (!assemble(crowd))
        return fail(crowd, "not all could join");
    double join_seconds = (monotonic() - began) / 1e9;
    tell("joined");
    settle(crowd, QUIET, SETTLE_PATIENCE / 2);
    if (crowd->options.publishers && crowd->options.dialect->message)
        crowd_publish(crowd);
    run_for(crowd, plan->warm_up);
    begin(crowd, &window);
    run_for(crowd, plan->seconds);
    end(crowd, &window);
    crowd->publishing = false;
    if (crowd->options.dialect->message)
        drain(crowd, plan->patience);
    report(crowd, &window, join_seconds);
    return 0;
}

/* All connect and join, `at_once` at a time. The window ends when the server has said all it has to. */
static int arrivals(struct crowd *crowd, const struct plan *plan)
{
    struct window window;
    begin(crowd, &window);
    if (!assemble(crowd))
        return fail(crowd, "not all could join");
    double join_seconds = (monotonic() - window.began) / 1e9;
    settle(crowd, (uint64_t)(plan->patience * SECOND), SETTLE_PATIENCE);
    end(crowd, &window);
    report(crowd, &window, join_seconds);
    return 0;
}

/* A file for each client, and some. A privileged user may go past the hard limit. */
static void raise_file_limit(int clients)
{
    struct rlimit limit;
    rlim_t wanted = clients + 64;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted;
    if (limit.rlim_max < wanted)
        limit.rlim_max = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit)) {
        fprintf(stderr, "%d sockets need as many open files: raise the limit (ulimit -Hn)\n", clients);
        exit(1);
    }
}

enum choice {
    HOST, PORT, DIALECT, WORK, ROOMS, MEMBERS, PUBLISHERS, IN_FLIGHT, RATE, SIZE, SAMPLE, AT_ONCE,
    LISTENERS_JOIN, STUCK, WARM_UP, SECONDS, PATIENCE,
};

static const struct option OPTIONS[] = {
    {"host", 1, 0, HOST}, {"port", 1, 0, PORT}, {"dialect", 1, 0, DIALECT}, {"work", 1, 0, WORK},
    {"rooms", 1, 0, ROOMS}, {"members", 1, 0, MEMBERS}, {"publishers", 1, 0, PUBLISHERS},
    {"in-flight", 1, 0, IN_FLIGHT}, {"rate", 1, 0, RATE}, {"size", 1, 0, SIZE}, {"sample", 1, 0, SAMPLE},
    {"at-once", 1, 0, AT_ONCE}, {"listeners-join", 1, 0, LISTENERS_JOIN}, {"stuck", 1, 0, STUCK},
    {"warm-up", 1, 0, WARM_UP}, {"seconds", 1, 0, SECONDS}, {"patience", 1, 0, PATIENCE}, {0},
};

static void set(struct options *options, struct plan *plan, enum choice option, const char *value)
{
    switch (option) {
    case HOST: options->host = value; break;
    case PORT: options->port = atoi(value); break;
    case DIALECT: options->dialect = dialect_named(value); break;
    case WORK: plan->work = value; break;
    case ROOMS: options->rooms = atoi(value); break;
    case MEMBERS: options->members = atoi(value); break;
    case PUBLISHERS: options->publishers = atoi(value); break;
    case IN_FLIGHT: options->in_flight = atoi(value); break;
    case RATE: options->rate = atof(value); break;
    case SIZE: options->size = atoi(value); break;
    case SAMPLE: options->sample = atoi(value); break;
    case AT_ONCE: options->at_once = atoi(value); break;
    case LISTENERS_JOIN: options->listeners_join = atoi(value); break;
    case STUCK: options->stuck = atoi(value); break;
    case WARM_UP: plan->warm_up = atof(value); break;
    case SECONDS: plan->seconds = atof(value); break;
    case PATIENCE: plan->patience = atof(value); break;
    }
}

static void check(const struct options *options)
{
    const char *wrong = !options->dialect ? "--dialect is needed, one of those in dialects.c"
        : !options->port ? "--port is needed"
        : options->rooms < 1 || options->members < 1 ? "--rooms and --members must be at least 1"
        : options->publishers > options->members - options->stuck ? "--publishers are some of the members"
        : options->size < 40 || options->size > 8000 ? "--size must be 40 to 8000"
        : options->sample < 1 || options->at_once < 1 ? "--sample and --at-once must be at least 1"
        : NULL;
    if (!wrong)
        return;
    fprintf(stderr, "load: %s\n", wrong);
    exit(2);
}

int main(int count, char **arguments)
{
    struct options options = {
        .host = "127.0.0.1", .rooms = 1, .members = 100, .in_flight = 1, .size = 80, .sample = 1, .at_once = 64,
        .listeners_join = true,
    };
    struct plan plan = {.work = "messages", .warm_up = 1, .seconds = 4, .patience = 5};
    int option;
    while ((option = getopt_long(count, arguments, "", OPTIONS, NULL)) != -1) {
        if (option == '?')
            return 2;
        set(&options, &plan, option, optarg);
    }
    check(&options);
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit(options.rooms * options.members);
    struct crowd crowd;
    crowd_make(&crowd, &options);
    return !strcmp(plan.work, "arrivals") ? arrivals(&crowd, &plan) : messages(&crowd, &plan);
}
