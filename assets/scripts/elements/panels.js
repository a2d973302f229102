lsPanelsTrigger = trigger;
