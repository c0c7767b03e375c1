package binpulse.client;

import java.util.Optional;

/** Keeps the numbers of lanes. */
public interface Store {
    /** The state of a lane; empty where the store does not have it. */
    Optional<Lane.State> load(LaneName lane) throws Exception;

    /** Stores a change, if the lane is as it was before; else throws a {@link ConflictException}. */
    void save(Change change) throws Exception;
}
