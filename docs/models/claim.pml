/* mpmc-announce, mpmc-claim: repair beside a live claim, on a machine whose accesses may
 * overtake each other unless an ordering forbids it.
 *
 * A dead actor announced position 0 and never claimed it. A live putter announces the same
 * position, claims it, commits, and announces something else. Repair must not make a tomb.
 * Each access of the putter is an event of its own; an event waits for those that an
 * ordering keeps before it, and for no others.
 *
 *   CLAIM_RELAXED      the claim may overtake the announcement before it
 *   ANNOUNCE_RELAXED   a later announcement may overtake the commit
 *   LOOKS_RELAXED      repair may read the announcement before the slot and the tail
 */
mtype = { IDLE, PUT0, EMPTY, FULL, TOMB };

mtype announced = IDLE;
mtype slot = EMPTY;
byte tail = 0;

#ifdef CLAIM_RELAXED
#define BEFORE_CLAIM true
#else
#define BEFORE_CLAIM a
#endif
#ifdef ANNOUNCE_RELAXED
#define BEFORE_LATER (a && c)
#else
#define BEFORE_LATER f
#endif

active proctype putter() {
    bool a, c, f, l;
    do
    :: !a -> announced = PUT0; a = true
    :: BEFORE_CLAIM && !c -> tail = 1; c = true
    /* The store depends on the outcome of the claim: it never comes before it. */
    :: c && !f -> slot = FULL; f = true
    :: BEFORE_LATER && !l -> announced = IDLE; l = true
    :: a && c && f && l -> break
    od
}

active proctype repairer() {
    byte seen;
    mtype state, early = IDLE;
    bool before;
#ifdef LOOKS_RELAXED
    if :: early = announced; before = true :: skip fi;
#endif
    seen = tail;
    if :: seen == 0 -> goto done :: else fi;
    state = slot;
    if :: state != EMPTY -> goto done :: else fi;
    if :: !before -> early = announced :: else fi;
    if :: early == PUT0 -> goto done :: else fi;
    /* The exchange succeeds only on what it expects. */
    atomic {
        if
        :: slot == EMPTY -> slot = TOMB; assert(false)
        :: else
        fi
    }
done:
    skip
}
