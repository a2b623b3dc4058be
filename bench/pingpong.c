/* The same bytes without any of the work: what the kernel alone takes for one call.
 *
 *   pingpong serve REQUEST_BYTES REPLY_BYTES          one thread a connection; prints its port
 *   pingpong ask PORT REQUEST_FILE MS CONNECTIONS     sends the file and reads one frame, again and again for MS
 *                                                     on each connection; prints the median in ns and calls a second
 *
 * `ask` reads replies by their length word, so it also asks any server that speaks framed Thrift.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 20, MOST_CALLS = 1 << 20 };

static int request_bytes, reply_bytes, port;
static long ends_ns, calls[1024];
static char request[MOST_BYTES];
static long *took_ns;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* One frame, which is all that is under way on this connection. */
static void read_frame(int fd, char *into) {
    unsigned have = 0, size = 4;
    while (have < size) {
        int count = recv(fd, into + have, MOST_BYTES - have, 0);
        if (count <= 0) fail("recv");
        have += count;
        if (have < 4) continue;
        memcpy(&size, into, 4);
        size = ntohl(size) + 4;
        if (size > MOST_BYTES) fail("too long");
    }
}

static void send_all(int fd, const char *from, int bytes) {
    while (bytes > 0) {
        int count = send(fd, from, bytes, MSG_NOSIGNAL);
        if (count <= 0) fail("send");
        from += count;
        bytes -= count;
    }
}

static void no_delay(int fd) {
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

static void *answer(void *argument) {
    int fd = (int)(long)argument;
    char *buffer = calloc(1, MOST_BYTES), *reply = calloc(1, MOST_BYTES);
    *(unsigned *)reply = htonl(reply_bytes - 4);
    for (;;) {
        int have = 0;
        while (have < request_bytes) {
            int count = recv(fd, buffer + have, request_bytes - have, 0);
            if (count <= 0) {
                close(fd);
                free(buffer);
                free(reply);
                return NULL;
            }
            have += count;
        }
        if (send(fd, reply, reply_bytes, MSG_NOSIGNAL) != reply_bytes) fail("send");
    }
}

static void serve(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 64)) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        pthread_t thread;
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) fail("accept");
        no_delay(fd);
        pthread_create(&thread, NULL, answer, (void *)(long)fd);
        pthread_detach(thread);
    }
}

static long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

static void *ask(void *argument) {
    long connection = (long)argument;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char *reply = malloc(MOST_BYTES);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    no_delay(fd);
    for (long began = now_ns(); began < ends_ns && calls[connection] < MOST_CALLS; began = now_ns()) {
        send_all(fd, request, request_bytes);
        read_frame(fd, reply);
        took_ns[connection * MOST_CALLS + calls[connection]++] = now_ns() - began;
    }
    close(fd);
    free(reply);
    return NULL;
}

static int by_size(const void *one, const void *other) {
    long a = *(const long *)one, b = *(const long *)other;
    return (a > b) - (a < b);
}

int main(int count, char **words) {
    if (count == 4 && !strcmp(words[1], "serve")) {
        request_bytes = atoi(words[2]);
        reply_bytes = atoi(words[3]);
        serve();
    }
    if (count != 6 || strcmp(words[1], "ask")) {
        fprintf(stderr, "usage: pingpong serve REQUEST_BYTES REPLY_BYTES | ask PORT FILE MS CONNECTIONS\n");
        return 2;
    }
    FILE *file = fopen(words[3], "rb");
    if (!file) fail(words[3]);
    request_bytes = fread(request, 1, sizeof request, file);
    port = atoi(words[2]);
    long connections = atol(words[5]), all = 0;
    if (connections > 1024) return 2;
    took_ns = calloc(connections * MOST_CALLS, sizeof *took_ns); /* only what is written takes memory */
    pthread_t threads[connections];
    long began = now_ns();
    ends_ns = began + atol(words[4]) * 1000000L;
    for (long each = 0; each < connections; each++) pthread_create(&threads[each], NULL, ask, (void *)each);
    for (long each = 0; each < connections; each++) pthread_join(threads[each], NULL);
    double seconds = (now_ns() - began) / 1e9;
    for (long each = 0; each < connections; each++) {
        memmove(took_ns + all, took_ns + each * MOST_CALLS, calls[each] * sizeof *took_ns);
        all += calls[each];
    }
    qsort(took_ns, all, sizeof *took_ns, by_size);
    printf("%ld %.0f\n", took_ns[all / 2], all / seconds);
    return 0;
}
