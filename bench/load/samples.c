#include "samples.h"

#include <stdlib.h>

void samples_add(struct samples *samples, uint64_t nanoseconds)
{
    if (samples->count == samples->capacity) {
        samples->capacity = samples->capacity ? 2 * samples->capacity : 1 << 16;
        samples->values = realloc(samples->values, samples->capacity * sizeof *samples->values);
        if (!samples->values)
            abort();
    }
    uint64_t units = nanoseconds / 100;
    samples->values[samples->count++] = units < UINT32_MAX ? units : UINT32_MAX;
}

static int ascending(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

void samples_sort(struct samples *samples)
{
    if (samples->count)
        qsort(samples->values, samples->count, sizeof *samples->values, ascending);
}

double samples_quantile(const struct samples *samples, double quantile)
{
    if (!samples->count)
        return 0;
    size_t rank = quantile * samples->count;
    return samples->values[rank < samples->count ? rank : samples->count - 1] / 10000.0;
}
