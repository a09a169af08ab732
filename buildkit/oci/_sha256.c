/* SHA-256 (FIPS 180-4) over one or two states at once, with the SHA extensions of x86-64.
 *
 * The bytes of a file belong to two digests: the file's own, which proves it, and its layer's, which the registry asks for.
 * One round needs the result of the round before it, so that a processor that hashes one state waits half of its time; a
 * second state over the same bytes fills that time, and shares the message schedule: two digests cost what one does
 * (measured on Zen 4: 0.60 s for a GiB, as hashlib takes for one of them).
 *
 * Python's side, with padding, digests and the fallback to hashlib, is in hashing.py. The stable ABI is used, so that one
 * build serves every Python from 3.11 on. */

#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <cpuid.h>
#include <immintrin.h>

#define STATE 32
#define BLOCK 64
#define EXTENSIONS __attribute__((target("sha,sse4.1,ssse3")))
#define IN_LINE EXTENSIONS static inline __attribute__((always_inline))

/* FIPS 180-4, 4.2.2 */
static const uint32_t K[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* The eight words of a state in the order that the instructions want: a, b, e, f and c, d, g, h. */
typedef struct {
    __m128i abef, cdgh;
} Words;

IN_LINE Words loaded(const uint8_t *state)
{
    __m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xB1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 16)), 0x1B);
    return (Words){_mm_alignr_epi8(abcd, efgh, 8), _mm_blend_epi16(efgh, abcd, 0xF0)};
}

IN_LINE void stored(uint8_t *state, Words words)
{
    __m128i feba = _mm_shuffle_epi32(words.abef, 0x1B);
    __m128i dchg = _mm_shuffle_epi32(words.cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)(state + 16), _mm_alignr_epi8(dchg, feba, 8));
}

IN_LINE void added(Words *words, Words before)
{
    words->abef = _mm_add_epi32(words->abef, before.abef);
    words->cdgh = _mm_add_epi32(words->cdgh, before.cdgh);
}

/* Compresses whole blocks into one state, or into both. The states take turns, since each instruction waits for the one
 * before it on its own state; "both" is a constant wherever this is written out, so that no round asks for it. */
IN_LINE void compressed(const int both, uint8_t *first, uint8_t *second, const uint8_t *data, size_t blocks)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    Words one = loaded(first), two = both ? loaded(second) : one;
    for (; blocks; blocks--, data += BLOCK) {
        Words one_before = one, two_before = two;
        __m128i message[4];
        for (int part = 0; part < 4; part++)
            message[part] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data + 16 * part)), big_endian);
#pragma GCC unroll 16
        for (int four = 0; four < 16; four++) {
            __m128i now = message[four & 3], last = message[(four + 3) & 3];
            __m128i scheduled = _mm_add_epi32(now, _mm_load_si128((const __m128i *)(K + 4 * four)));
            __m128i upper = _mm_shuffle_epi32(scheduled, 0x0E);
            one.cdgh = _mm_sha256rnds2_epu32(one.cdgh, one.abef, scheduled);
            if (both)
                two.cdgh = _mm_sha256rnds2_epu32(two.cdgh, two.abef, scheduled);
            one.abef = _mm_sha256rnds2_epu32(one.abef, one.cdgh, upper);
            if (both)
                two.abef = _mm_sha256rnds2_epu32(two.abef, two.cdgh, upper);
            if (four < 12) {
                __m128i next = _mm_sha256msg1_epu32(now, message[(four + 1) & 3]);
                next = _mm_add_epi32(next, _mm_alignr_epi8(last, message[(four + 2) & 3], 4));
                message[four & 3] = _mm_sha256msg2_epu32(next, last);
            }
        }
        added(&one, one_before);
        if (both)
            added(&two, two_before);
    }
    stored(first, one);
    if (both)
        stored(second, two);
}

EXTENSIONS static void compress_one(uint8_t *state, const uint8_t *data, size_t blocks)
{
    compressed(0, state, NULL, data, blocks);
}

EXTENSIONS static void compress_two(uint8_t *first, uint8_t *second, const uint8_t *data, size_t blocks)
{
    compressed(1, first, second, data, blocks);
}

/* compress(data, first[, second]): both states are 32 bytes that may be written to, eight words in this machine's order. */
static PyObject *compress(PyObject *module, PyObject *arguments)
{
    Py_buffer data, first, second = {.buf = NULL};
    if (!PyArg_ParseTuple(arguments, "y*w*|w*:compress", &data, &first, &second))
        return NULL;
    int fits = first.len == STATE && (!second.buf || second.len == STATE) && data.len % BLOCK == 0;
    if (fits) {
        size_t blocks = (size_t)data.len / BLOCK;
        Py_BEGIN_ALLOW_THREADS
        if (second.buf)
            compress_two(first.buf, second.buf, data.buf, blocks);
        else
            compress_one(first.buf, data.buf, blocks);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&data);
    PyBuffer_Release(&first);
    if (second.buf)
        PyBuffer_Release(&second);
    if (!fits)
        return PyErr_Format(PyExc_ValueError, "states have %d bytes, and data whole blocks of %d", STATE, BLOCK);
    Py_RETURN_NONE;
}

/* CPUID leaf 7, EBX bit 29: the SHA extensions; leaf 1, ECX bits 9 and 19: SSSE3 and SSE4.1 (Intel SDM, volume 2A). */
static int is_supported(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 9)) || !(c & (1u << 19)))
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29));
}

static PyMethodDef functions[] = {
    {"compress", compress, METH_VARARGS, "Compresses whole blocks of data into one state or two."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "buildkit.oci._sha256", NULL, 0, functions};

PyMODINIT_FUNC PyInit__sha256(void)
{
    if (!is_supported()) {
        PyErr_SetString(PyExc_ImportError, "this processor has no SHA extensions");
        return NULL;
    }
    return PyModule_Create(&definition);
}
