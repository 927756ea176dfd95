#include "frames.h"

#include <stdlib.h>
#include <string.h>

static uint64_t big_endian(const uint8_t *bytes, int count)
{
    uint64_t number = 0;
    while (count--)
        number = number << 8 | *bytes++;
    return number;
}

/* The length of the header that begins with these bytes; 0 while there are too few to tell. */
static size_t header_length(const uint8_t *bytes, size_t size)
{
    if (size < 2)
        return 0;
    uint8_t length = bytes[1] & 0x7f;
    return length < 126 ? 2 : length == 126 ? 4 : LONGEST_HEADER;
}

static uint64_t payload_length(const uint8_t *header)
{
    uint8_t length = header[1] & 0x7f;
    return length < 126 ? length : length == 126 ? big_endian(header + 2, 2) : big_endian(header + 2, 8);
}

/* RFC 6455, sections 5.1, 5.2, 5.4 and 5.5, for a client that negotiated no extension. */
static const char *violation(const struct walker *walker, const uint8_t *header, uint64_t length)
{
    uint8_t opcode = header[0] & 0x0f;
    bool fin = header[0] & 0x80;
    if (header[0] & 0x70)
        return "a reserved bit is set";
    if (header[1] & 0x80)
        return "a frame is masked";
    if ((header[1] == 126 && length < 126) || (header[1] == 127 && (length < 65536 || length >> 63)))
        return "a length is not in its shortest form";
    if (opcode >= OP_CLOSE) {
        if (opcode > OP_PONG)
            return "an unknown opcode";
        return fin && length < 126 ? NULL : "a control frame is fragmented or too long";
    }
    if (opcode > OP_BINARY)
        return "an unknown opcode";
    if ((opcode == OP_CONTINUATION) != walker->fragmented)
        return "fragments out of order";
    return NULL;
}

/* Hand over the frame that begins at `header`, of which `available` payload bytes are there. */
static void hand_over(struct walker *walker, const uint8_t *header, size_t header_size, uint64_t length,
                      size_t available, frame_handler *handle, void *context)
{
    walker->error = violation(walker, header, length);
    if (walker->error)
        return;
    struct frame frame = {header[0] & 0x0f, header[0] & 0x80, length, header + header_size, available};
    if (frame.opcode < OP_CLOSE)
        walker->fragmented = !frame.fin;
    handle(context, &frame);
}

/* Take what belongs to the frame that came in pieces. Returns how many bytes that was. */
static size_t gather(struct walker *walker, const uint8_t *bytes, size_t size, frame_handler *handle, void *context)
{
    const size_t capacity = LONGEST_HEADER + PAYLOAD_HEAD;
    if (!walker->kept && !(walker->kept = malloc(capacity)))
        abort();
    size_t header = header_length(walker->kept, walker->seen);
    uint64_t wanted = walker->total ? walker->total : header ? header : 2;
    size_t taken = wanted - walker->seen < size ? wanted - walker->seen : size;
    if (walker->seen < capacity) {
        size_t room = capacity - walker->seen;
        memcpy(walker->kept + walker->seen, bytes, taken < room ? taken : room);
    }
    walker->seen += taken;
    header = header_length(walker->kept, walker->seen);
    if (!walker->total && header && walker->seen >= header)
        walker->total = header + payload_length(walker->kept);
    if (walker->total && walker->seen == walker->total) {
        uint64_t kept = walker->total < capacity ? walker->total : capacity;
        hand_over(walker, walker->kept, header, walker->total - header, kept - header, handle, context);
        walker->seen = walker->total = 0;
    }
    return taken;
}

void walk(struct walker *walker, const uint8_t *bytes, size_t size, frame_handler *handle, void *context)
{
    while (size && !walker->error) {
        size_t header = walker->seen ? 0 : header_length(bytes, size);
        bool whole_header = header && size >= header;
        uint64_t length = whole_header ? payload_length(bytes) : 0;
        size_t taken;
        if (whole_header && length <= size - header) {
            /* The common case: all of it is here, and nothing is copied. */
            hand_over(walker, bytes, header, length, length, handle, context);
            taken = header + length;
        } else {
            taken = gather(walker, bytes, size, handle, context);
        }
        bytes += taken;
        size -= taken;
    }
}

static size_t header_of(uint8_t *out, uint8_t first, uint8_t mask_bit, uint64_t size)
{
    out[0] = first;
    if (size < 126) {
        out[1] = mask_bit | (uint8_t)size;
        return 2;
    }
    int bytes = size < 65536 ? 2 : 8;
    out[1] = mask_bit | (bytes == 2 ? 126 : 127);
    for (int i = 0; i < bytes; i++)
        out[2 + i] = size >> 8 * (bytes - 1 - i);
    return 2 + bytes;
}

size_t client_frame(uint8_t *out, uint8_t opcode, const void *payload, size_t size)
{
    /* Unpredictable keys protect proxies (section 10.3); here one that is not zero costs the server the same. */
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    size_t header = header_of(out, 0x80 | opcode, 0x80, size);
    memcpy(out + header, key, 4);
    header += 4;
    for (size_t i = 0; i < size; i++)
        out[header + i] = ((const uint8_t *)payload)[i] ^ key[i & 3];
    return header + size;
}

size_t server_header(uint8_t out[LONGEST_HEADER], uint64_t size)
{
    return header_of(out, 0x80 | OP_TEXT, 0, size);
}
