/* ring-publish, ring-release, mpmc-commit: one place passed back and forth, on a machine
 * whose accesses may overtake each other unless an ordering forbids it.
 *
 * The writer fills the place and publishes it; the reader looks, copies and releases; the
 * writer looks and fills it again.
 *
 *   PUBLISH_RELAXED    the publishing store may overtake the bytes
 *   LOOK_RELAXED       the copy may overtake the reader's look
 *   RELEASE_RELAXED    the releasing store may overtake the copy
 *   ROOM_RELAXED       the second filling may overtake the writer's look: no processor makes
 *                      a store visible that it only guesses; the language allows it
 */
byte data = 0, published = 0, released = 0;

#ifdef PUBLISH_RELAXED
#define BEFORE_PUBLISH true
#else
#define BEFORE_PUBLISH filled
#endif
#ifdef RELEASE_RELAXED
#define BEFORE_RELEASE looked
#else
#define BEFORE_RELEASE copied
#endif

active proctype writer() {
    bool filled, told, again;
    do
    :: !filled -> data = 1; filled = true
    :: BEFORE_PUBLISH && !told -> published = 1; told = true
#ifdef ROOM_RELAXED
    :: filled && !again -> data = 2; again = true
#else
    :: told && filled && released == 1 && !again -> data = 2; again = true
#endif
    :: filled && told && again -> break
    od
}

active proctype reader() {
    bool looked, copied, freed;
    byte copy;
    do
#ifdef LOOK_RELAXED
    :: !copied -> copy = data; copied = true
#else
    :: looked && !copied -> copy = data; copied = true
#endif
    :: !looked && published == 1 -> looked = true
    :: looked && BEFORE_RELEASE && !freed -> released = 1; freed = true
    :: looked && copied && freed -> break
    od;
    assert(copy == 1)
}
