/* The floor: what the machine itself takes to carry one HTTP request and its answer over loopback.
 *
 * A bare epoll loop: read what is there, count the requests by their end (a POST's head and its body, whose length it
 * reads), write a fixed answer of the size the sidecar gives. No parsing beyond that, no disk, no allocation.
 * Build: cc -O2 -o floor floor.c    Use: ./floor PORT
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FD 4096
#define BUFFER 8192

static char buffers[MAX_FD][BUFFER];
static size_t filled[MAX_FD];
static char answer[1024];
static size_t answer_size;

static void prepare(void) {
    char body[600];
    memset(body, 'x', sizeof body);
    answer_size = (size_t)snprintf(answer, sizeof answer,
                                   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%.*s",
                                   400, 400, body);
}

/* Bytes of the first complete request in buf, 0 when there is none yet. */
static size_t complete(char *buf, size_t size) {
    char *end = memmem(buf, size, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = (size_t)(end - buf) + 4;
    char *length = memmem(buf, head, "Content-Length: ", 16);
    size_t need = head + (length ? strtoul(length + 16, NULL, 10) : 0);
    return size >= need ? need : 0;
}

int main(int argc, char **argv) {
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poll = epoll_create1(0);
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    where.sin_port = htons((unsigned short)(argc > 1 ? atoi(argv[1]) : 7999));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&where, sizeof where) || listen(listener, 1024)) {
        perror("floor");
        return 1;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    prepare();
    for (;;) {
        int count = epoll_wait(poll, ready, 256, -1);
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;
            if (fd == listener) {
                int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (client < 0) continue;
                if (client >= MAX_FD) { close(client); continue; }
                setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                filled[client] = 0;
                event.events = EPOLLIN;
                event.data.fd = client;
                epoll_ctl(poll, EPOLL_CTL_ADD, client, &event);
                continue;
            }
            ssize_t got = read(fd, buffers[fd] + filled[fd], BUFFER - filled[fd]);
            if (got <= 0) { close(fd); continue; }
            filled[fd] += (size_t)got;
            size_t used = complete(buffers[fd], filled[fd]);
            if (used) {
                memmove(buffers[fd], buffers[fd] + used, filled[fd] - used);
                filled[fd] -= used;
                if (write(fd, answer, answer_size) < 0) close(fd);
            }
        }
    }
}
