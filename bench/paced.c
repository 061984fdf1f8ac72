/* A caller at a fixed rate over one kept connection, a fresh id in every request, light enough not to measure itself.
 *
 * An answer's time counts from when its request was sent; where the answer before it came too late for that, from when
 * the request was due. So what the server holds up counts in full, and the caller's own late wake-ups do not.
 * Build: cc -O2 -o paced paced.c    Use: ./paced PORT RATE SECONDS    Prints: count, wrong, p50, p99, p99.9, worst in µs
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now_us(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e6 + (double)at.tv_nsec / 1e3;
}

static void sleep_until(double at_us) {
    struct timespec until = {(time_t)(at_us / 1e6), 0};
    until.tv_nsec = (long)((at_us - (double)until.tv_sec * 1e6) * 1e3);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

/* Read one answer; 1 when its status is 200. */
static int answered(int server) {
    static char buffer[65536];
    size_t size = 0;
    for (;;) {
        ssize_t got = read(server, buffer + size, sizeof buffer - 1 - size);
        if (got <= 0) {
            perror("paced: the connection ended");
            exit(1);
        }
        size += (size_t)got;
        buffer[size] = 0;
        char *end = strstr(buffer, "\r\n\r\n");
        char *length = end ? strcasestr(buffer, "content-length: ") : NULL;
        if (length && size >= (size_t)(end + 4 - buffer) + strtoul(length + 16, NULL, 10))
            return !strncmp(buffer, "HTTP/1.1 200", 12);
    }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "use: paced PORT RATE SECONDS\n");
        return 2;
    }
    int rate = atoi(argv[2]), count = rate * atoi(argv[3]), wrong = 0, one = 1;
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    where.sin_port = htons((unsigned short)atoi(argv[1]));
    if (connect(server, (struct sockaddr *)&where, sizeof where)) {
        perror("paced");
        return 1;
    }
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    prctl(PR_SET_TIMERSLACK, 1);
    double *times = malloc(sizeof(double) * (size_t)count), begun = now_us(), free_at = 0;
    for (int n = 0; n < count; n++) {
        char body[200], request[512];
        int size = snprintf(body, sizeof body,
                            "{\"placement\":\"pdp\",\"user_id\":\"u%d\",\"session_id\":\"s%d\",\"attributes\":{\"country\":\"DE\"}}", n, n);
        int whole = snprintf(request, sizeof request,
                             "POST /v1/assign HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                             "Content-Length: %d\r\n\r\n%s", size, body);
        double due = begun + n * 1e6 / rate;
        if (free_at <= due) sleep_until(due);
        double sent = free_at <= due ? now_us() : due;
        if (write(server, request, (size_t)whole) != whole) return 1;
        wrong += !answered(server);
        free_at = now_us();
        times[n] = free_at - sent;
    }
    qsort(times, (size_t)count, sizeof *times, ascending);
    printf("%d %d %.0f %.0f %.0f %.0f\n", count, wrong, times[count / 2], times[(int)(count * 0.99)],
           times[(int)(count * 0.999)], times[count - 1]);
    return 0;
}
