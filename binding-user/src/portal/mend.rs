//! The portal's part of a repair. Each step looks at what is there, so that it can be done again from any half-way state.

use super::{HOST_OUT, Node};
use crate::{
    binding::Environment,
    datapath::{HookKind, Programs},
    error::{Error, Result},
    inspect::Scene,
    journal::Journal,
    netlink::tc::Tc,
};

/// The node's side of a repair.
pub(crate) enum Settled {
    /// The portal was made: programs that were loaded before do not know its index.
    Made(Node),
    /// It was there, or the record has none.
    There(Option<Node>),
}

/// Makes the portal of a record that has one, if it is not there or is of another tap.
pub(crate) async fn settle_portal(environment: &Environment, scene: &Scene<'_>, new: &mut Journal) -> Result<Settled> {
    if new.portal.as_ref().is_none_or(|portal| portal.leaving) {
        return Ok(Settled::There(None));
    }
    let Some(node) = Node::of(environment, new)? else { return Ok(Settled::There(None)) };
    let (Some(record), Some(tap)) = (&mut new.portal, new.tap.ifindex) else { return Ok(Settled::There(None)) };
    let found = node.portal(record).await?;
    if found.as_ref().is_some_and(|nic| record.ifindex == Some(nic.ifindex) && nic.link == Some(tap)) {
        return Ok(Settled::There(Some(node)));
    }
    if found.is_some() {
        node.delete_portal(record).await?;
    }
    record.ifindex = Some(node.make(record, &scene.netlink, tap).await?);
    environment.store.save(new)?;
    Ok(Settled::Made(node))
}

/// Takes away a portal that the record wants to be rid of, now that nothing is the record's there. What is left for detach
/// to remove stays in the record.
pub(crate) async fn withdraw_portal(environment: &Environment, scene: &Scene<'_>, new: &mut Journal) -> Result<()> {
    if !new.portal.as_ref().is_some_and(|portal| portal.leaving) {
        return Ok(());
    }
    if let Some(node) = Node::of(environment, new)? {
        node.withdraw(new, scene.netns).await?;
    }
    new.portal = new.portal.take().filter(|portal| portal.clsact_made);
    Ok(())
}

impl Node {
    /// Puts these programs on the hooks of the node's side, and sets the portal up in between.
    pub(crate) async fn put(&self, journal: &mut Journal, scene: &Scene<'_>, programs: &mut Programs) -> Result<()> {
        let hooks: Vec<_> = journal.hooks.iter().filter(|hook| hook.is_in_node()).cloned().collect();
        for hook in hooks {
            let device = self.device(journal, scene.netns, &hook).await?;
            let device = device.ok_or_else(|| Error::new(format!("find {}", hook.device), "it is gone"))?;
            if hook.program == HOST_OUT
                && let Some(record) = &mut journal.portal
            {
                self.raise(record, journal.tap.mtu).await?;
                record.host_side.clone_from(&device.name);
            }
            let hook = hook.on(&device.name);
            let tc: Tc = self.tc(&device).await?;
            let there = hook.is_among(&tc);
            if tc.hook_qdisc.is_none() && hook.program == HOST_OUT {
                if let Some(record) = &mut journal.portal {
                    record.clsact_made = true;
                }
                scene.environment.store.save(journal)?;
            }
            self.netns.run(|| {
                if there {
                    hook.replace(HookKind::Clsact, programs.program(&hook.program)?, &scene.pins)
                } else {
                    hook.attach_in_node(programs)
                }
            })?;
            if let Some(recorded) = journal.hooks.iter_mut().find(|recorded| recorded.program == hook.program) {
                *recorded = hook;
            }
        }
        Ok(())
    }
}
