/* Times that were measured, and their percentiles. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <stddef.h>
#include <stdint.h>

struct samples {
    uint32_t *values; /* in units of 100 ns: up to 7 minutes */
    size_t count, capacity;
};

void samples_add(struct samples *samples, uint64_t nanoseconds);

/* Sorts; after it `samples_quantile` may be asked. */
void samples_sort(struct samples *samples);

/* In milliseconds; 1.0 is the greatest. 0 where there are none. */
double samples_quantile(const struct samples *samples, double quantile);

#endif
