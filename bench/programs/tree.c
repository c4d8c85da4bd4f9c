/* A treap of malloc'ed nodes: inserts and deletes by rotation, walks. Pointer chasing, recursion and the C library's allocator. */
#include "bench.h"

struct node {
    struct node *left, *right;
    uint32_t key, priority;
    uint64_t payload[2];
};

static struct node *rotate_right(struct node *n) {
    struct node *l = n->left;
    n->left = l->right;
    l->right = n;
    return l;
}
static struct node *rotate_left(struct node *n) {
    struct node *r = n->right;
    n->right = r->left;
    r->left = n;
    return r;
}
static struct node *insert(struct node *n, uint32_t key) {
    if (n == NULL) {
        n = malloc(sizeof *n);
        *n = (struct node){.key = key, .priority = (uint32_t)random_u64(), .payload = {key, 1}};
        return n;
    }
    if (key < n->key) {
        n->left = insert(n->left, key);
        return n->left->priority > n->priority ? rotate_right(n) : n;
    }
    if (key > n->key) {
        n->right = insert(n->right, key);
        return n->right->priority > n->priority ? rotate_left(n) : n;
    }
    n->payload[1]++;
    return n;
}
static struct node *delete(struct node *n, uint32_t key) {
    if (n == NULL) return NULL;
    if (key < n->key) n->left = delete(n->left, key);
    else if (key > n->key) n->right = delete(n->right, key);
    else if (n->left == NULL || n->right == NULL) {
        struct node *child = n->left ? n->left : n->right;
        free(n);
        return child;
    } else if (n->left->priority > n->right->priority) {
        n = rotate_right(n);
        n->right = delete(n->right, key);
    } else {
        n = rotate_left(n);
        n->left = delete(n->left, key);
    }
    return n;
}
static uint64_t walk(struct node *n, uint64_t sum) {
    if (n == NULL) return sum;
    sum = walk(n->left, sum);
    sum = mix(sum, n->key + n->payload[1]);
    return walk(n->right, sum);
}

int main(int argc, char **argv) {
    long scale = bench_begin("tree", argc, argv);
    struct node *root = NULL;
    uint64_t sum = 0;
    for (long i = 0; i < 3000 * scale; i++) {
        root = insert(root, random_u64() & 0xffff);
        if (i & 1) root = delete(root, random_u64() & 0xffff);
        if (i % 50000 == 0) sum = walk(root, sum);
    }
    return bench_end(walk(root, sum));
}
