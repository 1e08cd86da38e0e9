//! What a mesh does when its network breaks.

use crate::network::with_agents;
use crate::scene::{COUNT, PATIENCE, Scene, downs_told, nothing_down};
use quorate_tests::{Agent, Stopwatch, among, holds_for, measured};
use std::time::Duration;

/// How long a partition lasts.
const CUT: Duration = Duration::from_secs(30);

/// Is the agent on the wrong side of a cut, and does it say so: not quorate, the last verdict of everything kept and marked stale?
fn silent_and_stale(scene: &Scene, agent: &Agent) -> Result<(), String> {
    let health = agent.health()?;
    if health.quorate {
        return Err(format!("it holds itself quorate: {health:?}"));
    }
    for id in &scene.instances {
        let seen = agent.instance(id)?;
        if !seen.stale || seen.decided != "up" {
            return Err(format!("{seen:?}"));
        }
    }
    Ok(())
}

#[test]
fn three_of_five_decide_and_two_keep_silent() {
    with_agents("scenarios::three_of_five_decide_and_two_keep_silent", || {
        let scene = Scene::set();
        let (larger, smaller) = ([0, 1, 2], [3, 4]);
        let watch = Stopwatch::start();
        scene.network.cut(&larger, &smaller);
        let lost = among(&scene.some(&larger), "both lost hosts are down, folded", PATIENCE, |agent| {
            smaller.iter().try_for_each(|&place| scene.lost(agent, place))
        });
        measured(&format!("lost hosts declared down: {lost}"));
        let marked = among(&scene.some(&smaller), "the smaller side marks everything stale", PATIENCE, |agent| {
            silent_and_stale(&scene, agent)
        });
        measured(&format!("smaller side marks its verdicts stale: {marked}, counted from the line above"));
        let rest = CUT.saturating_sub(watch.elapsed());
        let looks = holds_for("the smaller side starts no down, the larger keeps its own hosts", rest, || {
            for agent in scene.some(&smaller) {
                nothing_down(agent, |_| false)?;
                silent_and_stale(&scene, agent)?;
            }
            let lost = |id: &str| smaller.iter().any(|&at| id == scene.host(at) || id == scene.instances[at]);
            scene.some(&larger).into_iter().try_for_each(|agent| nothing_down(agent, |seen| lost(&seen.instance)))
        });
        for agent in scene.some(&smaller) {
            assert_eq!(downs_told(agent), Ok(0), "{}", agent.name);
        }
        measured(&format!("cut for {:.1} s, looked at {looks} times", watch.elapsed().as_secs_f64()));
        measured(&format!("all five agree {:.2} s after the heal", scene.heal().as_secs_f64()));
    });
}

#[test]
fn one_way_cuts_condemn_nobody_but_the_unheard() {
    with_agents("scenarios::one_way_cuts_condemn_nobody_but_the_unheard", || {
        let scene = Scene::set();
        // What host 4 sends does not reach host 0; everything else passes. A majority reaches everything all along.
        scene.network.cut_one_way(4, 0);
        let looks = holds_for("nothing is down while a majority reaches it", Duration::from_secs(15), || {
            for agent in &scene.mesh.agents {
                nothing_down(agent, |_| false)?;
                let health = agent.health()?;
                if !health.quorate {
                    return Err(format!("{}: {health:?}", agent.name));
                }
            }
            Ok(())
        });
        measured(&format!("one path silent one way: nothing down in {looks} looks"));
        measured(&format!("all five agree {:.2} s after the heal", scene.heal().as_secs_f64()));
        // What host 4 sends reaches nobody, and it hears everybody: the others must not hear it accuse them.
        let others = [0, 1, 2, 3];
        others.iter().for_each(|&place| scene.network.cut_one_way(4, place));
        let lost = among(&scene.some(&others), "the unheard host is down", PATIENCE, |agent| scene.lost(agent, 4));
        measured(&format!("unheard host declared down: {lost}"));
        holds_for("only the unheard host is down", Duration::from_secs(10), || {
            scene.mesh.agents.iter().try_for_each(|agent| {
                nothing_down(agent, |seen| seen.instance == scene.host(4) || seen.instance == scene.instances[4])
            })
        });
        measured(&format!("all five agree {:.2} s after the heal", scene.heal().as_secs_f64()));
    });
}

#[test]
fn one_agent_cut_off_from_all_accuses_nobody() {
    with_agents("scenarios::one_agent_cut_off_from_all_accuses_nobody", || {
        let scene = Scene::set();
        let (lone, others) = (2, [0, 1, 3, 4]);
        assert_eq!(others.len() + 1, COUNT);
        scene.network.cut(&[lone], &others);
        let lost =
            among(&scene.some(&others), "the lone host is down, folded", PATIENCE, |agent| scene.lost(agent, lone));
        measured(&format!("lone host declared down: {lost}"));
        among(&scene.some(&[lone]), "the lone agent knows that it is alone", PATIENCE, |agent| {
            silent_and_stale(&scene, agent)
        });
        holds_for("the lone agent accuses nobody", Duration::from_secs(10), || {
            nothing_down(&scene.mesh.agents[lone], |_| false)
        });
        assert_eq!(downs_told(&scene.mesh.agents[lone]), Ok(0));
        measured(&format!("all five agree {:.2} s after the heal", scene.heal().as_secs_f64()));
    });
}
