/* event-announce, membarrier, pipe-departure, parking: store, then look, on both sides, with
 * store buffers.
 *
 * The waker publishes and looks for a sleeper; the sleeper announces itself and looks once
 * more before it sleeps. A store waits in its processor's buffer until it drains, which may
 * be at any later time.
 *
 *   by default         the waker publishes with a plain store, the sleeper has the barrier,
 *                      which drains the waker's buffer too
 *   CLAIM              the waker publishes with an RMW, nobody has a barrier
 *   SHORT_SLEEP        no barrier, but the sleeper looks again after a short sleep, by which
 *                      time any buffer has drained
 * and broken:
 *   NO_BARRIER         a plain store, and no barrier, or one that does not reach the waker
 *   PLAIN_BIT          with CLAIM: the sleeper announces itself with a plain store
 *   LOOK_FIRST         the compiler moved the waker's look before its store
 *   ONE_LOOK           the sleeper does not look again after it announced itself
 */
bool published, announced;
bool published_buffered, announced_buffered;
bool woken;

/* The buffers drain by themselves at some time. */
active proctype drain_published() {
end:
    atomic { published_buffered -> published = true; published_buffered = false }
}

active proctype drain_announced() {
end:
    atomic { announced_buffered -> announced = true; announced_buffered = false }
}

active proctype waker() {
    bool seen;
#ifdef LOOK_FIRST
    seen = announced;
#endif
#ifdef CLAIM
    published = true;
#else
    published_buffered = true;
#endif
#ifndef LOOK_FIRST
    seen = announced;
#endif
    if :: seen -> woken = true :: else fi
}

active proctype sleeper() {
    bool seen;
#ifdef ONE_LOOK
    seen = published;
#endif
#ifdef PLAIN_BIT
    announced_buffered = true;
#else
    announced = true;
#endif
#if !defined(CLAIM) && !defined(NO_BARRIER) && !defined(SHORT_SLEEP)
    atomic {
        if :: published_buffered -> published = true; published_buffered = false :: else fi
    }
#endif
#ifndef ONE_LOOK
    seen = published;
#endif
#ifdef SHORT_SLEEP
    if
    :: !seen -> !published_buffered; seen = published
    :: else
    fi;
#endif
    if
    :: seen -> skip
    /* Here a sleeper that nobody wakes stays: an invalid end state. */
    :: else -> woken
    fi
}
